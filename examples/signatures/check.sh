#!/bin/sh
# Check the signature of the agent `http` in a shell, with openssl:
#     AGENT_SECRET=change-me check.sh "$X_CROCBOT_SIGNATURE" < body
# The exit code is 0 if the body is signed.  The secret is visible in the list of
# processes while openssl runs, and the comparison takes no constant time: use it to
# look at requests, and a program of your own for a service.
set -eu
digest=$(openssl dgst -sha256 -hmac "$AGENT_SECRET" -r | cut -d' ' -f1)
[ "sha256=$digest" = "$1" ]
