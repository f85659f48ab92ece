"""Runs the interoperability tests (`test_*.py`) and ends with `N passed, N failed, N skipped`."""

import logging
import os
import sys
import unittest
from pathlib import Path

import world as worlds

HERE = Path(__file__).resolve().parent
AMBIENT = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}


def main():
    logging.disable(logging.CRITICAL)  # exporters log every refusal
    # A machine's own trust and proxies would go before what an exporter is given.
    for name in [name for name in os.environ if name.startswith("OTEL_") or name in AMBIENT]:
        del os.environ[name]
    print(worlds.versions(), file=sys.stderr)
    loader = unittest.TestLoader()
    modules = sorted(file.stem for file in HERE.glob("test_*.py"))
    try:
        try:
            worlds.shared()  # before the modules, which would each try it again
        except Exception:
            total = sum((HERE / f"{module}.py").read_text().count("    def test_") for module in modules)
            print(f"interop: 0 passed, {total} failed, 0 skipped", flush=True)
            raise
        chosen = loader.loadTestsFromNames(sys.argv[1:] or modules)
        result = unittest.TextTestRunner(verbosity=2, stream=sys.stderr).run(chosen)
    finally:
        for world in worlds.SHARED:
            world.stop()
    # A module that cannot be loaded is one test that failed.
    failed = len({test.id().split(" ")[0] for test, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    passed = max(result.testsRun - failed - skipped, 0)
    sys.stderr.flush()
    print(f"interop: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(0 if result.wasSuccessful() and passed else 1)


main()
