#!/bin/sh
# Chromium drives the tests of the web page. It comes from Debian's packages; where it cannot be installed,
# those tests say so and are left out.
set -eu
command -v chromium >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing Debian's chromium for the tests of the web page"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core fonts-noto-color-emoji >/dev/null
else
    echo "chromium is not installed: the tests of the web page will be left out (apt install chromium)"
fi
