package edge

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/test/realtest"
)

const issuer, service = "auth.example.test", "registry.example.test"

// A tokenServer makes tokens as the servers do that people run beside registry:2.
type tokenServer struct {
	t      *testing.T
	key    *rsa.PrivateKey
	cert   []byte // DER
	bundle string // the file with it
	url    string // where docker gets tokens, as user ada
}

func startTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokens"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	s := &tokenServer{t: t, key: key, bundle: filepath.Join(t.TempDir(), "bundle.pem")}
	if s.cert, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(s.give))
	t.Cleanup(server.Close)
	s.url = server.URL + "/token"
	return s
}

// give gives ada what she asks for, and others a token for nothing.
func (s *tokenServer) give(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if user != "" && password != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	scope := strings.Join(r.URL.Query()["scope"], " ")
	access := []map[string]any{}
	for one := range strings.FieldsSeq(scope) {
		if part := strings.Split(one, ":"); user == "ada" && len(part) == 3 {
			access = append(access, map[string]any{"type": part[0], "name": part[1], "actions": strings.Split(part[2], ",")})
		}
	}
	c := s.claims()
	c["sub"], c["access"] = user, access
	_ = json.NewEncoder(w).Encode(map[string]any{"token": s.sign(s.header("kid", s.thumbprint()), c), "expires_in": 300})
}

func (s *tokenServer) claims() map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"iss": issuer, "aud": service, "sub": "ada", "iat": now, "nbf": now - 10, "exp": now + 300, "jti": rand.Text(),
		"access": []map[string]any{{"type": "registry", "name": "catalog", "actions": []string{"*"}}},
	}
}

func (s *tokenServer) header(key string, value any) map[string]any {
	return map[string]any{"typ": "JWT", "alg": "RS256", key: value}
}

func (s *tokenServer) encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Error(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s *tokenServer) sign(header, claims map[string]any) string {
	text := s.encode(header) + "." + s.encode(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, sum[:])
	if err != nil {
		s.t.Error(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// thumbprint is the key id since 3.0, fingerprint the one before.
func (s *tokenServer) thumbprint() string {
	sum, err := (&jose.JSONWebKey{Key: s.key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		s.t.Error(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

func (s *tokenServer) fingerprint() string {
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		s.t.Error(err)
	}
	sum := sha256.Sum256(der)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	var groups []string
	for ; text != ""; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, ":")
}

// startBerth starts Berth with the token server.
func (s *tokenServer) startBerth() *realtest.Registry {
	s.t.Helper()
	return realtest.Start(s.t, realtest.Options{Env: []string{
		"BERTH_AUTH_TOKEN_REALM=" + s.url, "BERTH_AUTH_TOKEN_SERVICE=" + service,
		"BERTH_AUTH_TOKEN_ISSUER=" + issuer, "BERTH_AUTH_TOKEN_ROOT_CERT_BUNDLE=" + s.bundle,
	}})
}

// startOld starts a registry:2 with it, and returns its address.
func (s *tokenServer) startOld(program string) string {
	s.t.Helper()
	addr, dir := address(s.t), s.t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n"+
		"auth: {token: {realm: %q, service: %s, issuer: %s, rootcertbundle: %s}}\n", filepath.Join(dir, "data"), addr, s.url, service, issuer, s.bundle)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	realtest.StartProgram(s.t, realtest.ProgramOptions{
		Name: program, Args: []string{"serve", config}, Env: []string{"OTEL_TRACES_EXPORTER=none"},
		Ready: func() error {
			resp, err := http.Get("http://" + addr + "/v2/")
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		},
	})
	return "http://" + addr
}

// TestTokensAgree shows the same tokens to registry:2 of both kinds and to Berth:
// what either of them takes Berth takes, and nothing else.
func TestTokensAgree(t *testing.T) {
	s := startTokenServer(t)
	three, two, berth := s.startOld("registry"), s.startOld("docker-registry"), s.startBerth().URL
	certs := []string{base64.StdEncoding.EncodeToString(s.cert)}
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other := &tokenServer{t: t, key: foreign}
	kid := s.header("kid", s.thumbprint())
	claim := func(key string, value any) map[string]any {
		c := s.claims()
		if c[key] = value; value == nil {
			delete(c, key)
		}
		return c
	}
	now := time.Now().Unix()
	none := s.encode(map[string]any{"alg": "none", "kid": s.thumbprint()}) + "." + s.encode(s.claims()) + "."
	hs := s.encode(map[string]any{"alg": "HS256", "kid": s.thumbprint()}) + "." + s.encode(s.claims())
	mac := hmac.New(sha256.New, s.cert)
	mac.Write([]byte(hs))
	tests := []struct {
		name, token       string
		three, two, berth int
	}{
		{"id of 3.0", s.sign(kid, s.claims()), 200, 401, 200},
		{"id of 2.8", s.sign(s.header("kid", s.fingerprint()), s.claims()), 401, 200, 200},
		{"certificate", s.sign(s.header("x5c", certs), s.claims()), 200, 200, 200},
		{"several audiences", s.sign(s.header("x5c", certs), claim("aud", []string{"x", service})), 200, 401, 200},
		{"no user", s.sign(s.header("x5c", certs), claim("sub", "")), 200, 200, 200},
		{"for nothing", s.sign(s.header("x5c", certs), claim("access", []any{})), 401, 401, 401},
		{"for something else", s.sign(s.header("x5c", certs), claim("access", []any{map[string]any{"type": "repository", "name": "catalog", "actions": []string{"*"}}})), 401, 401, 401},
		{"another issuer", s.sign(s.header("x5c", certs), claim("iss", "x")), 401, 401, 401},
		{"another service", s.sign(s.header("x5c", certs), claim("aud", "x")), 401, 401, 401},
		{"ended", s.sign(s.header("x5c", certs), claim("exp", now-120)), 401, 401, 401},
		{"not begun", s.sign(s.header("x5c", certs), claim("nbf", now+120)), 401, 401, 401},
		{"without a beginning", s.sign(s.header("x5c", certs), claim("nbf", nil)), 200, 200, 401}, // see docs/adr/0020
		{"another key", other.sign(kid, s.claims()), 401, 401, 401},
		{"another key, our certificate", other.sign(s.header("x5c", certs), s.claims()), 401, 401, 401},
		{"no key", s.sign(s.header("x", "y"), s.claims()), 401, 401, 401},
		{"not signed", none, 401, 401, 401},
		{"signed with what is public", hs + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), 401, 401, 401},
		{"nonsense", "x.y.z", 401, 401, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, one := range []struct {
				name, url string
				want      int
			}{{"3.1.2", three, tt.three}, {"2.8.2", two, tt.two}, {"Berth", berth, tt.berth}} {
				r, err := http.NewRequest("GET", one.url+"/v2/_catalog", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+tt.token)
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != one.want {
					t.Errorf("%s: got %d, want %d", one.name, resp.StatusCode, one.want)
				}
			}
		})
	}
}

// TestTokenServerWithDocker has docker log in with a token server, push, pull and
// be refused.
func TestTokenServerWithDocker(t *testing.T) {
	s := startTokenServer(t)
	reg := s.startBerth()
	d := realtest.Docker(t)
	d.Build(reg.Addr+"/team/app:1", realtest.Image{Seed: 20})
	if said := d.Fails("push", reg.Addr+"/team/app:1"); !strings.Contains(said, "denied") && !strings.Contains(said, "authori") && !strings.Contains(said, "authentication") {
		t.Errorf("without log-in: %s", said)
	}
	d.Fails("login", "-u", "ada", "-p", "wrong", reg.Addr)
	d.Run("login", "-u", "ada", "-p", "secret", reg.Addr)
	d.Run("push", reg.Addr+"/team/app:1")
	d.Run("rmi", reg.Addr+"/team/app:1")
	d.Run("pull", reg.Addr+"/team/app:1")
	d.Run("logout", reg.Addr)
	d.Fails("pull", reg.Addr+"/team/app:1")
	if !reg.Log.Await(func(l *realtest.Log) bool { return l.Contains(`"user":"ada"`) }) {
		t.Error("the log doesn't say who pushed")
	}
}
