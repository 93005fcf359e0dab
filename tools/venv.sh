#!/bin/sh
# Makes a virtual environment in $1 with a Python that Darkroom admits (3.11 to 3.13); keeps one that already fits.
# The first that fits wins, `python3` before all: it is what the person at the keyboard means by Python.
set -eu

venv=$1
fits='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

if "$venv/bin/python" -c "$fits" 2>/dev/null; then
    exit 0
fi

for python in "${PYTHON3:-python3}" python3.13 python3.12 python3.11 python; do
    if "$python" -c "$fits" 2>/dev/null; then
        echo "making $venv with $("$python" -V)"
        exec "$python" -m venv "$venv"
    fi
done

echo "Darkroom needs Python 3.11, 3.12 or 3.13 with its venv module, and found none." >&2
echo "Install one (on Debian and Ubuntu: python3 and python3-venv), or name one: make PYTHON3=/path/to/python3.12" >&2
exit 1
