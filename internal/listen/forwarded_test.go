package listen

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(t testing.TB, ss ...string) []netip.Prefix {
	t.Helper()
	var ps []netip.Prefix
	for _, s := range ss {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestPeer(t *testing.T) {
	type header = map[string][]string
	tests := []struct {
		name   string
		remote string
		header header
		tls    bool
		want   string // address, scheme, host, trust
	}{
		{name: "nothing forwarded", remote: "203.0.113.5:40000", want: "203.0.113.5 http berth.local direct"},
		{name: "over TLS", remote: "203.0.113.5:40000", tls: true, want: "203.0.113.5 https berth.local direct"},
		{name: "mapped address", remote: "[::ffff:203.0.113.5]:40000", want: "203.0.113.5 http berth.local direct"},
		{name: "unix socket", remote: "@", header: header{"X-Forwarded-For": {"198.51.100.7"}}, want: "invalid IP http berth.local direct"},
		{
			name: "untrusted peer sends everything", remote: "203.0.113.5:40000",
			header: header{
				"X-Forwarded-For": {"198.51.100.7"}, "X-Real-Ip": {"198.51.100.7"}, "Forwarded": {"for=198.51.100.7"},
				"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example"},
			},
			want: "203.0.113.5 http berth.local direct",
		},
		{
			name: "trusted proxy", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {"198.51.100.7"}, "X-Forwarded-Proto": {"HTTPS"}, "X-Forwarded-Host": {"registry.example:8443"}},
			want:   "198.51.100.7 https registry.example:8443 trusted",
		},
		{
			name: "trusted proxy by its mapped address", remote: "[::ffff:10.0.0.1]:40000",
			header: header{"X-Forwarded-For": {"::ffff:198.51.100.7"}}, want: "198.51.100.7 http berth.local trusted",
		},
		{
			name: "client lies to the proxy: the rightmost counts", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {"192.0.2.66, 198.51.100.7"}}, want: "198.51.100.7 http berth.local trusted",
		},
		{
			name: "two proxies, two lines", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {"192.0.2.66, 198.51.100.7", "10.0.0.9"}}, want: "198.51.100.7 http berth.local trusted",
		},
		{
			name: "all trusted: the first", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {"10.0.0.7,10.0.0.8"}}, want: "10.0.0.7 http berth.local trusted",
		},
		{
			name: "garbage ends the walk", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {"198.51.100.7, unknown, 10.0.0.8"}}, want: "10.0.0.8 http berth.local trusted",
		},
		{
			name: "empty header", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {""}}, want: "10.0.0.1 http berth.local trusted",
		},
		{
			name: "port and brackets", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {"[2001:db8::7]:1234"}}, want: "2001:db8::7 http berth.local trusted",
		},
		{
			name: "zone is dropped", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-For": {"fe80::1%eth0"}}, want: "fe80::1 http berth.local trusted",
		},
		{
			name: "X-Real-IP alone", remote: "10.0.0.1:40000",
			header: header{"X-Real-Ip": {"198.51.100.7"}}, want: "198.51.100.7 http berth.local trusted",
		},
		{
			name: "X-Real-IP twice is nobody's", remote: "10.0.0.1:40000",
			header: header{"X-Real-Ip": {"192.0.2.66", "198.51.100.7"}}, want: "10.0.0.1 http berth.local trusted",
		},
		{
			name: "Forwarded", remote: "10.0.0.1:40000",
			header: header{"Forwarded": {`for=192.0.2.66, For="[2001:db8::7]:4711";proto=https;host="registry.example"`}},
			want:   "2001:db8::7 https registry.example trusted",
		},
		{
			name: "Forwarded with commas in quotes", remote: "10.0.0.1:40000",
			header: header{"Forwarded": {`by="a,b;c\"d";for=198.51.100.7`}}, want: "198.51.100.7 http berth.local trusted",
		},
		{
			name: "X-Forwarded-For before Forwarded", remote: "10.0.0.1:40000",
			header: header{"Forwarded": {"for=192.0.2.66"}, "X-Forwarded-For": {"198.51.100.7"}}, want: "198.51.100.7 http berth.local trusted",
		},
		{
			name: "strange schemes and hosts", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-Proto": {"javascript"}, "X-Forwarded-Host": {"evil.example/path"}}, want: "10.0.0.1 http berth.local trusted",
		},
		{
			name: "the nearest proxy names scheme and host", remote: "10.0.0.1:40000",
			header: header{"X-Forwarded-Proto": {"http, https"}, "X-Forwarded-Host": {"evil.example, good.example"}},
			want:   "10.0.0.1 https good.example trusted",
		},
		{
			name: "plain http behind a TLS hop", remote: "10.0.0.1:40000", tls: true,
			header: header{"X-Forwarded-Proto": {"http"}}, want: "10.0.0.1 http berth.local trusted",
		},
	}
	p := NewProxies(ProxyOptions{Trusted: prefixes(t, "10.0.0.0/8", "::ffff:172.16.0.0/108")})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tt.remote, Host: "berth.local", Header: tt.header}
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			got := p.Peer(r)
			trust := "direct"
			if got.Trusted {
				trust = "trusted"
			}
			if s := strings.Join([]string{got.Addr.String(), got.Scheme, got.Host, trust}, " "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
			if client := p.Client(r); client != strings.Replace(got.Addr.String(), "invalid IP", "", 1) {
				t.Errorf("Client: got %q", client)
			}
		})
	}
}

// TestFarEnd holds that what is known of a connection is not taken for what is said
// of a request.
func TestFarEnd(t *testing.T) {
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, r *http.Request) {
		if got, want := farEndOf(r), newFarEnd(r.RemoteAddr); got != want || got.text != "127.0.0.1" {
			t.Errorf("got %v, want %v", got, want)
		}
		r.RemoteAddr = "192.0.2.1:80"
		if got := farEndOf(r); got.text != "192.0.2.1" || got.addr != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("with another address: got %v", got)
		}
	})
	connected(t, s.addr, 2)
}

func TestIsHost(t *testing.T) {
	good := []string{"a", "a.b", "A-b_c.example:5000", "192.0.2.1", "[2001:db8::1]", "[::1]:443"}
	bad := []string{
		"", ":5000", "a:", "a:b", "a:123456", "a b", "a/b", "a@b", "[::1", "::1", "[::1]x", "[::1]:", "[fe80::1%25eth0]",
		"a\r\nb", "bücher.example", strings.Repeat("a", 300),
	}
	for _, s := range good {
		if !isHost(s) {
			t.Errorf("isHost(%q): got false, want true", s)
		}
	}
	for _, s := range bad {
		if isHost(s) {
			t.Errorf("isHost(%q): got true, want false", s)
		}
	}
}

func TestProxyHint(t *testing.T) {
	var log bytes.Buffer
	p := NewProxies(ProxyOptions{
		Trusted: prefixes(t, "10.0.0.1/32"), Setting: "http.trusted_proxies",
		Log: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	ask := func(remote, header string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{}}
		if header != "" {
			r.Header.Set(header, "198.51.100.7")
		}
		p.Peer(r)
	}
	ask("10.0.0.1:1", "X-Forwarded-For") // trusted
	ask("172.18.0.2:1", "")              // not forwarded
	ask("198.51.100.9:1", "X-Real-Ip")   // anybody on the internet may send that
	if log.Len() > 0 {
		t.Fatalf("logged without reason: %s", &log)
	}
	ask("172.18.0.2:1", "X-Forwarded-For")
	ask("172.18.0.2:1", "X-Forwarded-For")
	ask("172.18.0.3:1", "Forwarded")
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("got %d log lines, want 1:\n%s", n, &log)
	}
	wantAll(t, log.String(), "172.18.0.2", `http.trusted_proxies: [\"172.18.0.2/32\"]`)
}

func FuzzPeer(f *testing.F) {
	f.Add("198.51.100.7, 10.0.0.1", `for="[2001:db8::1]:80";proto=https`, "198.51.100.7", "https", "registry.example:5000")
	f.Add(",,", `for="\"`, "", "http,", "[::1]:x")
	f.Add("unknown", "for=_hidden, for=1.2.3.4;;", "1.2.3.4:5", "HTTPS", "a,b")
	trusted := prefixes(f, "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, xff, fwd, real, proto, host string) {
		p := NewProxies(ProxyOptions{Trusted: trusted})
		h := http.Header{"X-Forwarded-For": {xff}, "Forwarded": {fwd}, "X-Real-Ip": {real}, "X-Forwarded-Proto": {proto}, "X-Forwarded-Host": {host}}
		if xff == "" {
			h.Del("X-Forwarded-For")
		}
		if fwd == "" {
			h.Del("Forwarded")
		}
		got := p.Peer(&http.Request{RemoteAddr: "10.1.2.3:4", Host: "berth.local", Header: h})
		if !got.Addr.IsValid() || got.Addr.Is4In6() || got.Addr.Zone() != "" {
			t.Errorf("address: got %v", got.Addr)
		}
		if got.Scheme != "http" && got.Scheme != "https" {
			t.Errorf("scheme: got %q", got.Scheme)
		}
		if !isHost(got.Host) || strings.ContainsAny(got.Host, "/\\\"'<> \r\n%?#@") {
			t.Errorf("host: got %q", got.Host)
		}
		direct := p.Peer(&http.Request{RemoteAddr: "192.0.2.1:4", Host: "berth.local", Header: h})
		if want := (Peer{Addr: netip.MustParseAddr("192.0.2.1"), Scheme: "http", Host: "berth.local"}); direct != want {
			t.Errorf("from an untrusted peer: got %v, want %v", direct, want)
		}
	})
}
