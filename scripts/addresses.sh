#!/bin/sh
# Prints the addresses, and a first call that can be copied: scripts/addresses.sh dev|up
set -eu
cd "$(dirname "$0")/.."
setting() { sh scripts/setting.sh "$1"; }

host=$(setting VOLANT_BIND)
[ "$host" = 0.0.0.0 ] && host=127.0.0.1
secrets=$(setting AI_SECRETS_DIR)
secrets=${secrets#"$PWD/"}
api=http://$host:$(setting AI_PORT)

cat <<END

  Volant is ready.

  ai-api       $api    every call: $api/docs
  data-api     http://$host:$(setting DATA_PORT)    sign in as admin@volant.local with $secrets/admin_password
  MLflow       http://$host:$(setting MLFLOW_PORT)    user volant with $secrets/mlflow_password
END
if [ "$1" = up ]; then
    cat <<END
  Prometheus   http://127.0.0.1:$(setting PROMETHEUS_PORT)
  Grafana      http://$host:$(setting GRAFANA_PORT)    user admin with $secrets/grafana_password
  Uptime Kuma  http://127.0.0.1:$(setting KUMA_PORT)    asks for a first account: use $secrets/kuma_password
END
else
    cat <<END
  Postgres     127.0.0.1:$(setting POSTGRES_PORT)    user postgres with $secrets/postgres_password
END
fi
key="-H \"X-API-Key: \$(cat $secrets/demo_api_key)\""
tasks=$(setting AI_TASKS | tr -d ' ')
case ,${tasks:-tweets}, in
*,tweets,*)
    first="A first prediction:

  curl -s $api/predict $key -H 'Content-Type: application/json' -d '{\"task\": \"tweets\", \"inputs\": {\"text\": \"late again, thanks\"}}'"
    ;;
*)
    first="The tasks ($api/docs has an example of a row of each):

  curl -s $api/models $key"
    ;;
esac
cat <<END
  demo key     $secrets/demo_api_key

  $first

END
