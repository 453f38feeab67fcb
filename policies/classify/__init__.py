"""What a text holds: personal data and credentials, by published formats, in linear time."""

from policies.classify.classifier import Classifier

__all__ = ["Classifier"]
