#!/usr/bin/env bash
# Promotes the PostgreSQL standby of the target, after the old primary was fenced. Never the other way round: two
# primaries accept writes that nothing can merge.
#
#   webhook_receiver ... --exec 'promote_postgres.sh'
#
# FENCE     a command that makes the old primary unreachable for clients and returns 0 only when it is: stop the machine by the
#           cloud's API, detach its address, or remove it from the proxy. It is called again after a failure.
# STANDBY   connection string of the target's standby. STATE: a folder that survives a restart.
# VANTAGES  as in regionwatch_check.py. RETRY_FOR: seconds (300) after which a person is needed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
region=${PEER_REGION:?} incident=${INCIDENT_ID:-$PEER_REGION-${ONSET:-unknown}}
: "${FENCE:?}" "${STANDBY:?}" "${STATE:?}"
fenced=$STATE/fenced-${incident//[^A-Za-z0-9._-]/_}
deadline=$((SECONDS + ${RETRY_FOR:-300}))

# Repeats a step until it succeeds or the time is over.
repeat() {
  until "$@"; do
    if [ $SECONDS -ge $deadline ]; then
      echo "$1 did not succeed: page a person" >&2
      return 1
    fi
    sleep "${PAUSE:-2}"
  done
}

ask() { psql --no-psqlrc --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$STANDBY" --command "$1"; }

fence() {
  # Before the fence everything can be called off, so each attempt asks again.
  local state=0
  "$here/regionwatch_check.py" "$region" || state=$?
  # What began in time goes on for as long as the vantages hold the region down.
  unset EXPIRES_AT
  if [ $state = 1 ]; then
    echo "called off: nothing is promoted" >&2
    exit 1
  fi
  [ $state = 0 ] && bash -c "$FENCE"
}

promote() {
  local standby
  standby=$(PGCONNECT_TIMEOUT=3 ask 'SELECT pg_is_in_recovery()') || return 1
  if [ "$standby" = t ]; then
    echo "last transaction: $(ask 'SELECT pg_last_xact_replay_timestamp()')" >&2
    # Replays what it has received, and then waits until it accepts writes.
    ask 'SELECT pg_promote(true, 60)' > /dev/null || return 1
  fi
  # A transaction id is assigned only where writes are accepted.
  ask 'SELECT pg_current_xact_id()' > /dev/null
}

if [ "${DRY_RUN:-true}" != false ]; then
  "$here/regionwatch_check.py" "$region"
  [ "$(ask 'SELECT pg_is_in_recovery()')" = t ]
  echo "dry run: would fence $region and promote its standby"
  exit
fi
if [ ! -e "$fenced" ]; then
  repeat fence
  # From here on there is no way back: without the old primary, the region that returns serves nothing.
  date --utc > "$fenced.new"
  sync "$fenced.new"
  mv "$fenced.new" "$fenced"
fi
repeat promote
echo "the standby accepts writes, and $region is fenced"
