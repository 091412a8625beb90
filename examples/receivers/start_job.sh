#!/usr/bin/env bash
# Starts a job for a failover, such as one of Jenkins, Argo Events or GitHub Actions, by one HTTP request.
#
#   webhook_receiver ... --exec 'start_job.sh'
#
# JOB_URL is the URL of the job, such as https://jenkins.example.com/job/failover/buildWithParameters. JOB_TOKEN_FILE has a
# line for curl: header = "Authorization: Bearer ...". A request is repeated for RETRY_FOR seconds (300) after no answer, 429
# and 5xx. So the job may be started twice: it must ignore an INCIDENT_ID that it knows, and run one at a time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deadline=$((SECONDS + ${RETRY_FOR:-300}))
until "$here/regionwatch_check.py" "${PEER_REGION:?}"; do
  # 2: too few vantages answer.
  if [ $? = 1 ] || [ $SECONDS -ge $deadline ]; then exit 1; fi
  sleep "${PAUSE:-2}"
done
if [ "${DRY_RUN:-true}" != false ]; then
  echo "dry run: would start $JOB_URL"
  exit
fi
curl --silent --show-error --fail --output /dev/null --config "$JOB_TOKEN_FILE" \
  --connect-timeout 3 --max-time 10 --retry 100 --retry-all-errors --retry-delay "${PAUSE:-2}" --retry-max-time "${RETRY_FOR:-300}" \
  --data-urlencode "INCIDENT_ID=${INCIDENT_ID:-$PEER_REGION-${ONSET:-}}" \
  --data-urlencode "PEER_REGION=$PEER_REGION" --data-urlencode "FAILOVER_TARGET=${FAILOVER_TARGET:-}" "$JOB_URL"
echo "the job was started"
