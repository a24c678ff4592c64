#!/bin/sh
# An agent in a shell: the message on standard input, the answer on standard output.
# The message is data, never a command: its sender must not choose what runs.
set -eu
message=$(cat)

case $message in
date) date ;;
free) df -h / ;;
list)
    # A file in $CROCBOT_OUT is sent after the text.
    uname -a > "$CROCBOT_OUT/1-system.txt"
    echo "Here is the list, user $CROCBOT_SENDER."
    ;;
*) printf 'I know date, free and list, not "%s".\n' "$message" ;;
esac
