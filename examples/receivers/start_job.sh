#!/usr/bin/env bash
# Starts a job for a failover, such as one of Jenkins, Argo Events or GitHub Actions, by one HTTP request.
#
#   webhook_receiver ... --exec 'start_job.sh'
#
# JOB_URL is the URL of the job, such as https://jenkins.example.com/job/failover/buildWithParameters. JOB_TOKEN_FILE has a
# line for curl: header = "Authorization: Bearer ...". A request is repeated for RETRY_FOR seconds (300) after no answer and
# any error, each time only if the region is still down. So the job may be started twice: it must ignore an INCIDENT_ID that
# it knows, and run one at a time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deadline=$((SECONDS + ${RETRY_FOR:-300}))

# Starts the job, if the region is down now.
start() {
  local state=0
  "$here/regionwatch_check.py" "${PEER_REGION:?}" || state=$?
  # What began in time goes on for as long as the vantages hold the region down.
  unset EXPIRES_AT
  if [ $state = 1 ]; then
    echo "called off: no job is started" >&2
    exit 1
  fi
  # 2: too few vantages answer.
  [ $state = 0 ] || return 1
  if [ "${DRY_RUN:-true}" != false ]; then
    echo "dry run: would start $JOB_URL"
    exit
  fi
  curl --silent --show-error --fail --output /dev/null --config "$JOB_TOKEN_FILE" --connect-timeout 3 --max-time 10 \
    --data-urlencode "INCIDENT_ID=${INCIDENT_ID:-$PEER_REGION-${ONSET:-}}" \
    --data-urlencode "PEER_REGION=$PEER_REGION" --data-urlencode "FAILOVER_TARGET=${FAILOVER_TARGET:-}" "$JOB_URL"
}

until start; do
  if [ $SECONDS -ge $deadline ]; then
    echo "no job was started in time: page a person" >&2
    exit 1
  fi
  sleep "${PAUSE:-2}"
done
echo "the job was started"
