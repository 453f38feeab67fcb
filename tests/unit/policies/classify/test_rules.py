"""What is found and what is not, rule by rule, on values made for these tests."""

import pytest

from policies.classify import Classifier
from policies.facts import Segment

# Bodies are put behind their prefixes here, so that no scanner takes this file for a leak.
MIXED = "a1B2c3D4e5F6g7H8i9J0kLmNoPqRsTuVwXyZ4567890abcdEFGH12345678ijkLMNOPqrst90"
HEX = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

FOUND = [
    ("pii.email", "write to jo.do+x@mail.example.org, please"),
    ("pii.email", "mailto:müller@exämple.de"),
    ("pii.email", "jo [at] example [dot] org"),
    ("pii.email", '"anna schmidt"@firma-beispiel.de'),
    ("pii.email", "anna!@firma.de"),
    ("pii.email", "anna.noreply@firma.de"),
    ("pii.email", "from noreply@firma.de to anna@firma.de"),
    ("pii.email", "анна@почта.рф"),
    ("pii.email", "用户@例子.中国"),
    ("pii.phone", "ring +49 151 23456789 or not"),
    ("pii.phone", "+44 20 7946 0958 2024"),
    ("pii.phone", "(415) 555-2671"),
    ("pii.phone", "06 12 34 56 78"),
    ("pii.phone", '"phone_number": "612345678"'),
    ("pii.card", "4111 1111 1111 1111"),
    ("pii.card", "3782-822463-10005"),
    ("pii.card", "5555555555554444"),
    ("pii.card", "2024 4111111111111111"),
    ("pii.card", "4111 1111 1111 1111 12/26 123"),
    ("pii.card", "order_4111111111111111_paid"),
    ("pii.card", "1234567890123,4111111111111111"),
    ("pii.card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ("pii.card", "visa4111111111111111"),
    ("pii.card", "CardNo4111 1111 1111 1111"),
    ("pii.card", "card,4111,1111,1111,1111,12/29"),
    ("pii.card", "|4111|1111|1111|1111|"),
    ("pii.card", "4111·1111·1111·1111"),
    ("pii.card", "4111:1111:1111:1111"),
    ("pii.card", "my debit card is 676222165679"),
    ("pii.iban", "DE89 3704 0044 0532 0130 00 is mine"),
    ("pii.iban", "gb29nwbk60161331926819"),
    ("pii.iban", "FR1420041010050500013M02606"),
    ("pii.national_id", "SSN 536-90-4399"),
    ("pii.national_id", "ssn: 536904399"),
    ("pii.national_id", "AB123456C"),
    ("pii.national_id", "12345678Z"),
    ("pii.national_id", "RSSMRA85T10A562S"),
    ("pii.national_id", "756.9217.0769.85"),
    ("pii.national_id", "529.982.247-25"),
    ("secret.aws_key", "AK" + "IAIOSFODNN7EXAMPLE"),
    ("secret.aws_key", f'aws_secret_access_key = "{MIXED[:40]}"'),
    ("secret.github", "gh" + f"p_{MIXED[:36]}"),
    ("secret.github", "github" + f"_pat_{MIXED[:22]}_{MIXED[:59]}"),
    ("secret.gitlab", "glp" + f"at-{MIXED[:20]}"),
    ("secret.openai", "sk" + f"-proj-{MIXED[:40]}"),
    ("secret.openai", "sk" + f"-{MIXED[:48]}"),
    ("secret.anthropic", "sk" + f"-ant-api03-{MIXED}"),
    ("secret.google", "AI" + f"za{MIXED[:35]}"),
    ("secret.slack", "xo" + f"xb-123456789012-123456789012-{MIXED[:24]}"),
    ("secret.stripe", "sk" + f"_live_{MIXED[:24]}"),
    ("secret.token", "hf" + "_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH"),
    ("secret.token", "mg" + f"-{MIXED[:43]}"),
    ("secret.private_key", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    ("secret.private_key", "-----BEGIN " + "PRIVATE KEY-----"),
    ("secret.jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkw"),
    ("secret.url_password", "postgres://app:q9tz7-Lm@db:5432/app"),
    ("secret.url_password", "curl -u admin:7oWBAQhWBOWw https://api.example.org"),
    ("secret.authorization", f"Authorization: Bearer {MIXED[:30]}"),
    ("secret.azure", f"AccountKey={MIXED}=="),
    ("secret.password", "password: Tr0ub4dor&3"),
    ("secret.password", "PASSWORT='geheim#77'"),
    ("secret.password", "the password is IwT?XDdelw3"),
    ("secret.password", f"client_secret={HEX}"),
    ("secret.generic", f"acme KEY {HEX[:32]}"),
]
NOT_FOUND = [
    "Co-Authored-By: Claude <noreply@anthropic.com>",
    "No-Reply@firma.de",
    "x@w.transpose(0, 1) + a @ b.T",
    "@decorator and user@host",
    "2024-01-15 10:22:33, 01.02.2024, 05/06/1990",
    "4111 1111 1111 1112",
    "[4111,1111,1111,1111,2048,4096]",
    "key4111111111111111, e4111111111111111",
    'say "hi"@ x.y, Foo::"@bar.baz", if !@user.admin, "a" f"@pytest.fixture"',
    "ISBN 978-3-16-148410-0, EAN 4006381333931",
    "DE89 3704 0044 0532 0130 01",
    "000-12-3456 and 666-12-3456",
    "BG123456A",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "gh" + "p_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xo" + "xb-my-bot-token-here",
    'password = os.environ["DB_PASSWORD"]',
    "password: ${DB_PASSWORD}",
    'api_key = "<YOUR_API_KEY>"',
    "token = get_token(user_id=53559)",
    "The password must have at least 20 characters",
    "secret_name: projects/demo-71/secrets/db/versions/8",
    "git revert ac8334b8101b91648b2da9b86412afee0f0707b1",
    f"sha256:{HEX}",
    "request_id=05fa3d2d-4c32-b757-7419-ea01ae657cf5",
    "https://example.org/a:b@c",
    "server 127.0.0.1:8080, version 10.20.30.40",
]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


@pytest.mark.parametrize(("kind", "text"), FOUND)
def test_value_is_found(classifier: Classifier, kind: str, text: str) -> None:
    """Each rule finds what it is for, alone and inside other text."""
    for shown in (text, f"Hello.\n{text}\nBye."):
        assert kind in classifier.scan([Segment("user", "text", shown)]).found


@pytest.mark.parametrize("text", NOT_FOUND)
def test_lookalike_is_left_alone(classifier: Classifier, text: str) -> None:
    """Placeholders, code, hashes, dates and wrong check digits set no label."""
    found = classifier.scan([Segment("user", "text", text)])
    assert found.found == frozenset()
    assert found.unknown == frozenset()


def test_every_type_has_a_vector(classifier: Classifier) -> None:
    """No rule is without a test of its type."""
    assert {kind for kind, _text in FOUND} == classifier.types
