"""Rules for secret scanners, run by the scanners themselves: gitleaks, detect-secrets, and Hyperscan for GitHub's."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import hyperscan
import pytest
import yaml

from keywright.domain import plainkey
from tests.integration.conftest import ROOT
from tests.support.programs import build

SCANNING = ROOT / "deploy/secret-scanning"
PREFIXES = ["kw_live", "ab", "k9", "kw_partner_2", "a1_b2_c3", "a" * 20]
# How keys get into files.
PLACES = [
    "{}",
    "export API_KEY={}",
    'api_key: "{}"',
    "curl -H 'Authorization: Bearer {}' https://api.example.com",
    "https://api.example.com/?key={}&page=2",
    '{{"key":"{}","page":2}}',
    "X-API-Key: {}\r",
    "token_{}",
    "{}_old",
    "<td>{}</td>",
]


def key(prefix: str = "kw_live", seed: int = 1) -> str:
    return plainkey.generate(prefix, Random(seed)).text


def changed_at(text: str, position: int) -> str:
    return text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]


TRUE = {
    **{f"prefix {prefix}": f"key = {key(prefix, seed)}" for seed, prefix in enumerate(PREFIXES)},
    **{f"place {number}": place.format(key(seed=number)) for number, place in enumerate(PLACES)},
}
# Not even the form of a key: no scanner may see one.
FALSE = {
    "masked": plainkey.mask("kw_live", "4hJk29sLmQ0z"),
    "truncated": key()[:-1],
    "extended": key() + "x",
    "without prefix": key().removeprefix("kw_live_"),
    "upper case": key().replace("kw_live", "KW_LIVE"),
    "shorter id": key()[:8] + key()[9:],
    "hash": "$argon2id$v=19$m=19456,t=2,p=1$Gv9WGOVTzG6kJYcAhDIR4A$rNn5n+sl9Kgb1MljNAI5PlN5O7Zny2ySZYymqYgfCBg",
    "digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "identifier": "a_function_name_that_is_long_and_has_many_parts_as_some_have_in_generated_code",
    "placeholder": f"kw_live_{'x' * 12}_{'x' * 49}",
}
# It looks like a key and its checksum is wrong: a regular expression cannot tell.
MISTYPED = {"mistyped": changed_at(key(), 30), "another prefix": key().replace("kw_live", "kw_test")}


def write(folder: Path, samples: dict[str, str]) -> dict[str, str]:
    """A file for each sample; the samples' names by the names of the files."""
    folder.mkdir()
    names = {f"{number:03}.txt": name for number, name in enumerate(samples)}
    for file, name in names.items():
        (folder / file).write_text(f"# some text\n{samples[name]}\n", newline="")
    return names


@pytest.fixture(scope="module")
def gitleaks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("github.com/zricethezav/gitleaks/v8", "gitleaks", tmp_path_factory.mktemp("gitleaks"))


def found_by_gitleaks(program: Path, folder: Path, samples: dict[str, str]) -> dict[str, str]:
    """What it takes for a key, by the name of the sample."""
    names = write(folder / "samples", samples)
    report = folder / "report.json"
    command = [program, "dir", ".", "--config", SCANNING / "gitleaks.toml", "--report-path", report]
    done = subprocess.run(
        [*map(str, command), "--exit-code", "0", "--no-banner", "--log-level", "error"],
        cwd=folder / "samples",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = [each for each in json.loads(report.read_text()) if each["RuleID"] == "keywright-api-key"]
    return {names[Path(each["File"]).name]: each["Secret"] for each in ours}


def found_by_detect_secrets(folder: Path, samples: dict[str, str]) -> set[str]:
    """The names of samples in which it finds a key of ours."""
    names = write(folder / "samples", samples)
    program = Path(sys.executable).with_name("detect-secrets")
    command = [program, "scan", "--all-files", "--plugin", SCANNING / "keywright_detector.py", "."]
    done = subprocess.run(
        list(map(str, command)), cwd=folder / "samples", capture_output=True, text=True, timeout=120, check=True
    )
    results = json.loads(done.stdout)["results"]
    return {names[file] for file, each in results.items() if any(one["type"] == "Keywright API key" for one in each)}


def found_by_github(samples: dict[str, str]) -> set[str]:
    """As GitHub puts a custom pattern together, matched by the library that GitHub names."""
    pattern = yaml.safe_load((SCANNING / "github-custom-pattern.yaml").read_text())
    secret = pattern["secret_format"]
    whole = f"({pattern['before_secret']})({secret})({pattern['after_secret']})"
    database = hyperscan.Database()
    expressions = [whole, *pattern["must_not_match"]]
    database.compile(expressions=[each.encode() for each in expressions], ids=list(range(len(expressions))))

    def matches(text: str) -> bool:
        seen: set[int] = set()
        database.scan(text.encode(), match_event_handler=lambda number, *_: seen.add(number))
        return seen == {0}

    return {name for name, text in samples.items() if matches(f"# some text\n{text}\n")}


def test_gitleaks_finds_every_key_and_nothing_else(gitleaks: Path, tmp_path: Path) -> None:
    """The finding is the key itself, so an allow-list of findings works."""
    found = found_by_gitleaks(gitleaks, tmp_path, TRUE | FALSE | MISTYPED)
    assert set(found) == set(TRUE) | set(MISTYPED)
    for number, _ in enumerate(PLACES):
        assert found[f"place {number}"].endswith(key(seed=number)[-62:])


def test_gitleaks_finds_a_key_in_the_yaml_of_a_secret(gitleaks: Path, tmp_path: Path) -> None:
    """It decodes base64 by itself, so an exported Secret that was committed is found."""
    data = {"api-key": base64.b64encode(key().encode()).decode()}
    exported = yaml.safe_dump({"kind": "Secret", "metadata": {"name": "ci-deploy"}, "data": data})
    assert set(found_by_gitleaks(gitleaks, tmp_path, {"exported": exported})) == {"exported"}


def test_gitleaks_keeps_its_own_rules(gitleaks: Path, tmp_path: Path) -> None:
    """The file adds to the rules that are there already."""
    (tmp_path / "pem").write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEow' * 20}\n-----END RSA PRIVATE KEY-----\n")
    command: list[str | Path] = [gitleaks, "dir", tmp_path, "--config", str(SCANNING / "gitleaks.toml"), "--no-banner"]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 1


def test_detect_secrets_finds_every_key_and_nothing_else(tmp_path: Path) -> None:
    """It knows the checksum: what is mistyped is no key."""
    assert found_by_detect_secrets(tmp_path, TRUE | FALSE | MISTYPED) == set(TRUE)


def test_github_finds_every_key_and_nothing_else() -> None:
    """The pattern is within what Hyperscan knows, and placeholders are left out."""
    assert found_by_github(TRUE | FALSE | MISTYPED) == set(TRUE) | set(MISTYPED)


def test_keys_of_any_prefix_and_chance_are_found(tmp_path: Path) -> None:
    """A few hundred of them, so no character of the alphabet and no digit of a checksum is special."""
    many = {f"{seed}": key(PREFIXES[seed % len(PREFIXES)], seed) for seed in range(300)}
    assert found_by_github(many) == set(many)
    assert found_by_detect_secrets(tmp_path, many) == set(many)
