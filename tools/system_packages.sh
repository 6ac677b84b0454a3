#!/bin/sh
# Chromium drives the tests of the web page, a PostgreSQL server those of the store. Both come from Debian's packages;
# where they cannot be installed, those tests say so and are left out.
set -eu
missing=""
command -v chromium >/dev/null 2>&1 || missing="chromium fonts-dejavu-core fonts-noto-color-emoji"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -n "$missing" ] || exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing for the tests, from Debian's packages: $missing"
    export DEBIAN_FRONTEND=noninteractive
    # The tests start a server of their own: the package needs to begin none.
    case "$missing" in *postgresql*)
        mkdir -p /etc/postgresql-common
        [ -e /etc/postgresql-common/createcluster.conf ] ||
            echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf ;;
    esac
    # shellcheck disable=SC2086
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "not installed, and their tests will be left out (apt install): $missing"
fi
