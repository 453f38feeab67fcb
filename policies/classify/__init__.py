"""What a text holds: personal data and credentials, by published formats, in linear time."""

from policies.classify.classifier import RULES, Classifier

__all__ = ["RULES", "Classifier"]
