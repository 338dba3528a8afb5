package doctor

// A trouble is a kind of thing that can be wrong; its text is the finding's id.
type trouble string

const (
	unknownName trouble = "name-unknown"
	unreachable trouble = "unreachable"
	noTLS       trouble = "no-tls"
	tlsOnly     trouble = "tls-only"
	plain       trouble = "plain-http"
	expired     trouble = "certificate-expired"
	expiresSoon trouble = "certificate-expires"
	wrongName   trouble = "certificate-name"
	selfSigned  trouble = "certificate-self-signed"
	privateCA   trouble = "certificate-authority"
	chainBroken trouble = "certificate-chain"
	oldTLS      trouble = "tls-old"

	gatewayError   trouble = "gateway"
	redirects      trouble = "redirect"
	notProxied     trouble = "not-proxied"
	noRegistry     trouble = "no-registry"
	agentBlocked   trouble = "agent-blocked"
	versionMissing trouble = "version-header-missing"
	versionTwice   trouble = "version-header-twice"
	errorsReplaced trouble = "errors-replaced"

	noChallenge        trouble = "challenge-missing"
	twoChallenges      trouble = "challenge-twice"
	wrongRealm         trouble = "token-address"
	tokenNotProxied    trouble = "token-not-proxied"
	passwordFile       trouble = "password-file"
	authorizationLost  trouble = "authorization-lost"
	authorizationTwice trouble = "authorization-twice"
	twoCheckers        trouble = "two-checkers"
	wrongLogin         trouble = "log-in-refused"
	nobodyChecks       trouble = "nobody-checks"

	methodBlocked   trouble = "method-blocked"
	noLocation      trouble = "location-missing"
	locationScheme  trouble = "location-scheme"
	locationHost    trouble = "location-host"
	locationPath    trouble = "location-path"
	bodyLimit       trouble = "body-limit"
	registryLimit   trouble = "registry-limit"
	chunkedRefused  trouble = "chunked-refused"
	chunkedLost     trouble = "chunked-lost"
	requestBuffered trouble = "request-buffered"

	noRange        trouble = "range"
	headLength     trouble = "head-length"
	noDigest       trouble = "digest-header"
	contentEncoded trouble = "content-encoded"
	contentChanged trouble = "content-changed"
)

// A mend is what is known about a trouble: what it does to clients, and what to
// write where. The keys of where are the proxies; what stands under other keys
// is shown whatever the proxy is.
type mend struct {
	breaks string
	where  []Change
}

// proxies are the keys of which only one is shown, if it is known which it is.
func isProxy(where string) bool {
	return where == "nginx" || where == "Apache" || where == "Caddy" || where == "Cloudflare"
}

// changes returns what to change where kind is the proxy, and everything where
// it isn't known or nothing is known about it.
func (m mend) changes(kind string) []Change {
	known := false
	for _, c := range m.where {
		known = known || c.Where == kind
	}
	var list []Change
	for _, c := range m.where {
		if !known || c.Where == kind || !isProxy(c.Where) {
			list = append(list, c)
		}
	}
	return list
}

// mends is what there is to say about each trouble.
func mends() map[trouble]mend {
	all := make(map[trouble]mend)
	for _, part := range []map[trouble]mend{connectionMends(), pingMends(), loginMends(), pushMends(), bodyMends(), pullMends()} {
		for id, m := range part {
			all[id] = m
		}
	}
	return all
}

func connectionMends() map[trouble]mend {
	const ca = "sudo mkdir -p /etc/docker/certs.d/HOST:PORT && sudo cp ca.crt /etc/docker/certs.d/HOST:PORT/ca.crt; here: --ca ca.crt"
	return map[trouble]mend{
		unknownName: {"No client finds the registry.", []Change{
			{"DNS", "add the name, or write it into /etc/hosts of each client: ADDRESS registry.example.com"}}},
		unreachable: {"No client gets an answer.", []Change{
			{"server", "is the proxy running, does it listen on this port (ss -ltn), does a firewall let clients through?"},
			{"Berth", "http.listen: [\":5000\"], if clients come to it directly; without log-in its default is this machine alone"}}},
		noTLS: {"docker speaks TLS to every registry but those on its own machine: \"server gave HTTP response to HTTPS client\".", []Change{
			{"nginx", "listen 5043 ssl;"},
			{"Apache", "SSLEngine on"},
			{"Caddy", "https://registry.example.com:5043 { … }, with https:// in front"},
			{"Berth", "http.tls.certificate and http.tls.key, if it is to speak TLS itself"}}},
		tlsOnly: {"This address is answered 400.", []Change{{"client", "write https:// instead of http://"}}},
		plain: {"docker refuses plain HTTP from other machines: \"server gave HTTP response to HTTPS client\".", []Change{
			{"Berth", "http.tls, or a proxy that speaks TLS in front: see deploy/ for recipes"},
			{"docker", "/etc/docker/daemon.json of every client: {\"insecure-registries\": [\"HOST:PORT\"]}, if the network may read passwords"}}},
		expired: {"docker refuses it: \"x509: certificate has expired or is not yet valid\".", []Change{
			{"server", "renew the certificate and reload the proxy; a clock that is wrong looks the same (timedatectl)"}}},
		expiresSoon: {"Clients refuse it from then on.", []Change{{"server", "renew the certificate, and see why it hasn't happened by itself"}}},
		wrongName: {"docker refuses it: \"x509: certificate is valid for …, not …\".", []Change{
			{"server", "make a certificate with this name among its subject alternative names: berth tls self-signed HOST:PORT makes one"},
			{"client", "or use a name that the certificate is for"}}},
		selfSigned: {"docker refuses it: \"x509: certificate signed by unknown authority\".", []Change{{"docker", ca}}},
		privateCA:  {"docker refuses it: \"x509: certificate signed by unknown authority\".", []Change{{"docker", ca}}},
		chainBroken: {"docker refuses it: \"x509: certificate signed by unknown authority\". Browsers fetch what is missing; docker does not.", []Change{
			{"nginx", "cat domain.crt intermediate.crt > chained.crt; ssl_certificate chained.crt;"},
			{"Apache", "cat domain.crt intermediate.crt > chained.crt; SSLCertificateFile chained.crt"},
			{"Caddy", "cat domain.crt intermediate.crt > chained.crt; tls chained.crt domain.key"},
			{"Berth", "http.tls.certificate: the certificate first, then the intermediate ones, in one file"}}},
		oldTLS: {"Nothing; but they are unsafe, and no docker of today needs them.", []Change{
			{"nginx", "ssl_protocols TLSv1.2 TLSv1.3;"},
			{"Apache", "SSLProtocol -all +TLSv1.2 +TLSv1.3"},
			{"Caddy", "tls { protocols tls1.2 tls1.3 }"},
			{"Berth", "http.tls.minimum: \"1.2\""}}},
	}
}

func pingMends() map[trouble]mend {
	return map[trouble]mend{
		gatewayError: {"Nothing works: the proxy is there and the registry is not.", []Change{
			{"nginx", "proxy_pass http://127.0.0.1:5000; with the address of http.listen; its error log says why (connection refused, permission denied on a socket, SELinux: setsebool -P httpd_can_network_connect 1)"},
			{"Apache", "ProxyPass /v2/ http://127.0.0.1:5000/v2/ nocanon, with the address of http.listen; the ErrorLog says why"},
			{"Caddy", "reverse_proxy 127.0.0.1:5000, with the address of http.listen"},
			{"Berth", "berth health says whether it is ready; http.listen says where it listens"}}},
		redirects: {"docker does not follow everywhere, and sends no password to another host.", []Change{
			{"client", "use the address it leads to"},
			{"server", "let /v2/ out of the redirection"}}},
		notProxied: {"docker finds no registry here.", []Change{
			{"nginx", "location /v2/ { proxy_pass http://127.0.0.1:5000; } without a path behind the port"},
			{"Apache", "ProxyPass /v2/ http://127.0.0.1:5000/v2/ nocanon"},
			{"Caddy", "handle /v2/* { reverse_proxy 127.0.0.1:5000 }"}}},
		noRegistry: {"docker finds no registry here.", []Change{
			{"server", "is this the right host and port? Everything below /v2/ must go to the registry, unchanged"}}},
		agentBlocked: {"These clients can't use the registry.", []Change{
			{"nginx", "if ($http_user_agent ~ \"^(docker\\/1\\.(3|4|5(?!\\.[0-9]-dev))|Go ).*$\" ) { return 404; } turns away docker 1.5 and older and nobody else"},
			{"Apache", "RewriteCond %{HTTP_USER_AGENT} \"^(docker/1\\.(3|4|5(?!\\.[0-9]-dev))|Go )\""},
			{"Caddy", "@old header_regexp User-Agent \"^(docker/1\\.[345]([^0-9]|$)|Go )\""},
			{"server", "a firewall for web applications has to let /v2/ alone"}}},
		versionMissing: {"Old dockers take the registry for one of version 1.", []Change{
			{"nginx", "map $upstream_http_docker_distribution_api_version $docker_distribution_api_version { '' 'registry/2.0'; } and add_header Docker-Distribution-Api-Version $docker_distribution_api_version always;"},
			{"Apache", "Header onsuccess unset Docker-Distribution-Api-Version and Header always set Docker-Distribution-Api-Version \"registry/2.0\""},
			{"Caddy", "handle_errors { header Docker-Distribution-Api-Version registry/2.0 … }"}}},
		versionTwice: {"Nothing with the clients we know.", []Change{
			{"nginx", "add_header with the variable of the map in deploy/nginx/berth.conf, which is empty where the registry has sent the header"},
			{"Apache", "Header onsuccess unset Docker-Distribution-Api-Version, before Header always set"},
			{"Caddy", "header ?Docker-Distribution-Api-Version registry/2.0, with the question mark"}}},
		errorsReplaced: {"Clients read why something failed in the registry's answer, and show the page instead; some take it for a failure of the network.", []Change{
			{"nginx", "proxy_intercept_errors off;"},
			{"Apache", "ProxyErrorOverride Off"},
			{"Caddy", "no handle_response in reverse_proxy"}}},
	}
}

func loginMends() map[trouble]mend {
	one := []Change{
		{"nginx", "no auth_basic, if Berth checks passwords (deploy/nginx/berth.conf)"},
		{"Apache", "no AuthType and Require, if Berth checks passwords (deploy/apache/berth.conf)"},
		{"Caddy", "no basic_auth, if Berth checks passwords (deploy/caddy/Caddyfile)"},
		{"Berth", "or no auth.htpasswd, and auth.proxy_header: Authorization, if the proxy does"},
	}
	return map[trouble]mend{
		noChallenge: {"docker sends no password if it isn't asked: \"no basic auth credentials\".", []Change{
			{"nginx", "no proxy_hide_header WWW-Authenticate;"},
			{"Apache", "no Header unset WWW-Authenticate"},
			{"Caddy", "no header_down -WWW-Authenticate"}}},
		twoChallenges: {"Clients answer one of them, perhaps the wrong one.", one},
		wrongRealm: {"docker login and every push fail: docker asks there for a token.", []Change{
			{"nginx", "proxy_set_header Host $http_host; and proxy_set_header X-Forwarded-Proto $scheme;"},
			{"Apache", "ProxyPreserveHost on and RequestHeader set X-Forwarded-Proto \"https\""},
			{"Caddy", "nothing: it sends both by itself"},
			{"Berth", "http.trusted_proxies: [\"ADDRESS OF THE PROXY/32\"], or http.external_url: https://HOST:PORT"}}},
		tokenNotProxied: {"docker login and every push fail: docker asks there for a token.", []Change{
			{"nginx", "location /v2/ { … } for everything below it, not a location for each path"},
			{"Apache", "ProxyPass /v2/ … for everything below it"},
			{"Caddy", "handle /v2/* { … }"}}},
		passwordFile: {"Nobody can log in.", []Change{
			{"nginx", "the file of auth_basic_user_file must exist and be readable for the user of the workers (\"user\" in nginx.conf): chown root:www-data FILE && chmod 640 FILE, and chmod o+x for the folders above it; its error log names it"},
			{"Apache", "the file of AuthUserFile must exist and be readable for the user of the \"User\" line: chown root:www-data FILE && chmod 640 FILE; the ErrorLog names it"},
			{"server", "in a container: is the file mounted, and is it a file? docker's -v makes a folder where there is none"}}},
		authorizationLost: {"Nobody can log in: the password never arrives.", []Change{
			{"nginx", "no proxy_set_header Authorization \"\"; in a location that Berth checks"},
			{"Apache", "no RequestHeader unset Authorization; for CGI-like handlers: CGIPassAuth On"},
			{"Caddy", "no header_up -Authorization"}}},
		authorizationTwice: {"Nobody can log in: of two headers each reader could believe another one.", []Change{
			{"nginx", "no proxy_set_header Authorization beside that of the client"},
			{"Apache", "RequestHeader set in place of RequestHeader add"},
			{"Caddy", "header_up Authorization without +"}}},
		twoCheckers: {"Nobody can log in, unless both have the same users.", one},
		wrongLogin: {"This user can't log in.", []Change{
			{"client", "is the password right? berth htpasswd -v FILE USER checks it against the file"},
			{"Berth", "its log says at every refused log-in whether there is such a user"}}},
		nobodyChecks: {"Anybody can log in with any password.", []Change{
			{"nginx", "auth_basic and auth_basic_user_file in the location /v2/"},
			{"Apache", "AuthType Basic, AuthUserFile and Require valid-user for /v2/"},
			{"Caddy", "basic_auth in handle /v2/*"},
			{"Berth", "auth.htpasswd: {path: FILE}; with auth.proxy_header passwords are the proxy's to check"}}},
	}
}
