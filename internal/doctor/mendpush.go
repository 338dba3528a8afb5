package doctor

func pushMends() map[trouble]mend {
	forwarded := []Change{
		{"nginx", "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;"},
		{"Apache", "ProxyPreserveHost on and RequestHeader set X-Forwarded-Proto \"https\""},
		{"Caddy", "nothing: it sends both by itself"},
		{"Berth", "http.locations: relative (its default); with absolute: http.trusted_proxies, or http.external_url: https://HOST:PORT"},
		{"registry:2", "http.relativeurls: true (REGISTRY_HTTP_RELATIVEURLS=true)"},
	}
	return map[trouble]mend{
		methodBlocked: {"docker push fails: it needs GET, HEAD, POST, PATCH, PUT and DELETE.", []Change{
			{"nginx", "no limit_except and no dav_methods in the location /v2/"},
			{"Apache", "no Limit, LimitExcept and AllowMethods for /v2/"},
			{"Caddy", "no matcher for methods in front of reverse_proxy"},
			{"server", "a firewall for web applications has to let /v2/ alone"}}},
		noLocation:     {"docker push fails: it does not learn where to send layers to.", []Change{{"server", "the proxy must leave the Location header as it is"}}},
		locationScheme: {"docker push fails, or goes on without encryption: it sends layers to this address.", forwarded},
		locationHost:   {"docker push fails: it sends layers to this address.", forwarded},
		locationPath: {"docker push fails: it sends layers to this address.", []Change{
			{"nginx", "proxy_pass http://127.0.0.1:5000; without a path behind the port, and no rewrite"},
			{"Apache", "ProxyPass /v2/ http://127.0.0.1:5000/v2/ nocanon: both sides with /v2/"},
			{"Caddy", "handle, not handle_path, which takes /v2 away"},
			{"Berth", "http.prefix, if clients find it below a path"}}},
	}
}

func bodyMends() map[trouble]mend {
	return map[trouble]mend{
		bodyLimit: {"docker push fails for every larger layer: \"413 Request Entity Too Large\".", []Change{
			{"nginx", "client_max_body_size 0; in the server or location of the registry"},
			{"Apache", "with ModSecurity: SecRequestBodyAccess Off for /v2/; LimitRequestBody 0 if httpd does not pass the request on itself"},
			{"Caddy", "no request_body { max_size … } for /v2/*"},
			{"Cloudflare", "its limit depends on the plan (100 MB on the free one): give the registry a name that is DNS only (the grey cloud)"}}},
		registryLimit: {"Larger layers can't be pushed. It is the registry that says so.", []Change{
			{"Berth", "uploads.max_size: 0"}}},
		chunkedRefused: {"docker push fails: docker does not know the size of a layer when it begins to send it.", []Change{
			{"nginx", "proxy_http_version 1.1; and chunked_transfer_encoding on;"},
			{"Apache", "SetEnv proxy-sendchunked 1, and no SetEnv force-proxy-request-1.0"},
			{"Caddy", "no request_buffers, and no transport of HTTP/1.0"},
			{"server", "a firewall for web applications has to let bodies without Content-Length through to /v2/"}}},
		chunkedLost: {"docker push fails: layers arrive empty or incomplete.", []Change{
			{"nginx", "proxy_http_version 1.1; and proxy_request_buffering off;"},
			{"Apache", "no SetEnv proxy-sendcl for /v2/"},
			{"server", "what stands in between must pass bodies without Content-Length on as they are"}}},
		requestBuffered: {"Layers are written to the proxy's disk first: pushes take twice as long, large ones hang at their end and time out, and a cut one begins anew.", []Change{
			{"nginx", "proxy_request_buffering off; proxy_http_version 1.1;"},
			{"Apache", "no SetEnv proxy-sendcl, no mod_buffer and no mod_security request bodies for /v2/"},
			{"Caddy", "no request_buffers in reverse_proxy"},
			{"Cloudflare", "it always does so: give the registry a name that is DNS only (the grey cloud)"}}},
	}
}

func pullMends() map[trouble]mend {
	bytes := []Change{
		{"nginx", "gzip off; and no sub_filter in the location /v2/"},
		{"Apache", "SetEnv no-gzip 1 for /v2/, and no mod_substitute"},
		{"Caddy", "no encode for /v2/*"},
		{"Cloudflare", "a rule that turns compression and every optimization off for /v2/"},
	}
	return map[trouble]mend{
		noRange: {"A pull that was cut begins anew, and clients that fetch parts (lazy pulling) fetch everything.", []Change{
			{"nginx", "no proxy_cache, gzip or proxy_set_header Range \"\"; in the location /v2/; with a cache: slice"},
			{"Apache", "no RequestHeader unset Range, no mod_deflate and no MaxRanges none for /v2/"},
			{"Caddy", "no encode for /v2/*, and no header_up -Range"}}},
		headLength: {"Clients that look before they fetch (skopeo, containerd) fail, or fetch everything.", append([]Change{
			{"server", "a proxy that makes GET of HEAD, or chunks of everything, has to be told not to"}}, bytes...)},
		noDigest: {"docker pull can't say which image it got; tools that pin digests fail.", []Change{
			{"nginx", "no proxy_hide_header Docker-Content-Digest;"},
			{"Apache", "no Header unset Docker-Content-Digest"},
			{"Caddy", "no header_down -Docker-Content-Digest"}}},
		contentEncoded: {"Digests are of the bytes that the registry has; clients that don't unpack see others.", bytes},
		contentChanged: {"docker pull fails: \"filesystem layer verification failed\".", bytes},
	}
}
