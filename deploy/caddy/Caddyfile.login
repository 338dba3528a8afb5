# Berth behind Caddy: Caddy speaks TLS and checks who logs in.
#
# Copy this file to /etc/caddy/Caddyfile, change the lines marked CHANGE, then:
# caddy validate --config /etc/caddy/Caddyfile && systemctl reload caddy
#
# Berth's side of it (berth.yml):
#
#   http:
#     listen: ["127.0.0.1:5000"]
#     trusted_proxies: ["127.0.0.1/32"]
#   auth:
#     proxy_header: Authorization     # whom Caddy let in stands in Berth's log and events
#
# Berth has no password file then and believes Caddy, so nobody else may reach
# Berth: it has to listen on 127.0.0.1 or on a socket.

# CHANGE: the name. Without the port it is 443. Without the tls line Caddy gets a
# certificate from Let's Encrypt by itself.
https://registry.example.com:5043 {
	# CHANGE: the certificate (the intermediate ones behind it) and its key.
	tls /etc/caddy/certs/domain.crt /etc/caddy/certs/domain.key

	handle /v2/* {
		# Docker 1.5 and older speak another protocol.
		@old header_regexp User-Agent "^(docker/1\.[345]([^0-9]|$)|Go )"
		respond @old 404

		# CHANGE: one line for each user, with what `caddy hash-password` prints.
		basic_auth bcrypt Registry {
			alice $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
		}

		# Caddy has no limit for bodies and passes them on as they come. It sets
		# X-Forwarded-For, -Proto and -Host by itself and drops what clients sent.
		# CHANGE if Berth listens elsewhere:
		reverse_proxy 127.0.0.1:5000 {
			# over a socket, see deploy/README.md: reverse_proxy unix//run/berth/berth.sock
			flush_interval -1
			header_up -Forwarded
			header_up -X-Real-IP
		}
	}

	# Berth sends this header itself; here it comes with answers of Caddy's own,
	# such as a 401. Old clients give up without it.
	handle_errors {
		header Docker-Distribution-Api-Version registry/2.0
		respond {err.status_code}
	}
}
