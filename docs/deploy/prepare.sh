#!/bin/sh
# Makes what compose.yaml needs once: passwords, the refresh secret, a certificate for SQL Server, the image and the first
# signing key. It needs openssl and docker compose. What is there already it leaves as it is.
#
# Containers run as users that do not exist here, so the files can be read by everybody, and the folder by you alone.
set -eu
cd "$(dirname "$0")"

if [ ! -e secrets ]; then
	new=$(mktemp -d secrets.XXXXXX) # complete or not there
	trap 'rm -rf "$new"' EXIT
	umask 022
	mkdir "$new/sqlserver" "$new/latchkey" "$new/migrate"

	# Upper and lower case, digits and a sign, as SQL Server demands, and nothing that a URL would have to encode.
	password() { echo "Lk-$(openssl rand -hex 24)"; }
	sa=$(password) migrate=$(password) app=$(password)
	cat >"$new/sqlserver.env" <<-END
		MSSQL_SA_PASSWORD=$sa
		SQLCMDPASSWORD=$sa
		MIGRATE_PASSWORD=$migrate
		APP_PASSWORD=$app
	END
	options='sqlserver:1433?database=latchkey&encrypt=true&certificate=/run/latchkey/ca.pem'
	echo "sqlserver://latchkey_migrate:$migrate@$options" >"$new/migrate/migrate.url"
	echo "sqlserver://latchkey_app:$app@$options" >"$new/latchkey/app.url"
	openssl rand -base64 32 >"$new/latchkey/refresh.secret"

	# A certificate authority of its own, whose key is thrown away once it has signed: nobody can make another certificate.
	openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj '/CN=Latchkey compose CA' \
		-keyout "$new/ca.key" -out "$new/latchkey/ca.pem" 2>/dev/null
	openssl req -newkey rsa:3072 -nodes -subj '/CN=sqlserver' -keyout "$new/sqlserver/server.key" -out "$new/server.csr" 2>/dev/null
	printf 'subjectAltName=DNS:sqlserver\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' >"$new/server.ext"
	openssl x509 -req -in "$new/server.csr" -CA "$new/latchkey/ca.pem" -CAkey "$new/ca.key" -CAcreateserial -days 3650 \
		-extfile "$new/server.ext" -out "$new/sqlserver/server.pem" 2>/dev/null
	rm -f "$new/ca.key" "$new/server.csr" "$new/server.ext" "$new/latchkey/ca.srl"
	chmod 644 "$new"/*/*
	chmod 600 "$new/sqlserver.env"
	mv "$new" secrets # mktemp has made it for this user alone
	trap - EXIT
	echo 'made docs/deploy/secrets'
fi

chmod a+r ../nginx.conf mssql.conf database.sql grants.sql # a clone may have kept them to this user
cd ../..
VERSION=$(git describe --tags --always --dirty 2>/dev/null || true)
export VERSION
docker compose build operator
docker compose run --rm operator keys list >/dev/null 2>&1 || docker compose run --rm operator keys rotate
