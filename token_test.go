package berth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/config"
)

// A tokenServer makes tokens.
type tokenServer struct {
	signer jose.Signer
	bundle string // the file with its public key
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := &tokenServer{bundle: filepath.Join(t.TempDir(), "bundle.pem")}
	if err := os.WriteFile(s.bundle, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	name := jose.JSONWebKey{Key: key, KeyID: base64.RawURLEncoding.EncodeToString(id)}
	if s.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: name}, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// token returns the header with a token for scopes, which ends after a time.
func (s *tokenServer) token(t *testing.T, user string, ends time.Duration, scopes ...string) []string {
	t.Helper()
	var access []map[string]any
	for _, scope := range scopes {
		part := strings.Split(scope, ":")
		access = append(access, map[string]any{"type": part[0], "name": part[1], "actions": strings.Split(part[2], ",")})
	}
	now := time.Now().Unix()
	body, err := json.Marshal(map[string]any{
		"iss": "auth.example", "aud": "hub.example", "sub": user, "access": access,
		"iat": now - 7200, "nbf": now - 7200, "exp": now + int64(ends.Seconds()),
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + text}
}

func (s *tokenServer) configure(c *config.Config) {
	c.Auth.Token = config.Token{Realm: "https://auth.example/token", Service: "hub.example", Issuer: "auth.example", RootCertBundle: s.bundle}
}

const (
	emptyBlob = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	hour      = time.Hour
)

// TestTokenServer holds what a token of another server opens and what not, and
// what the challenge says then.
func TestTokenServer(t *testing.T) {
	ts := newTokenServer(t)
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("root:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), 0o600); err != nil { // secret
		t.Fatal(err)
	}
	s := open(t, func(c *config.Config) { ts.configure(c); c.Auth.Htpasswd.Path = users })
	root := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("root:secret"))}
	post := func(repo string) string { return "/v2/" + repo + "/blobs/uploads/?digest=" + emptyBlob }
	for _, repo := range []string{"team/app", "other"} {
		if got := ask(s, "POST", "http://host"+post(repo), root...); got.StatusCode != http.StatusCreated {
			t.Fatalf("a user of the password file, beside the tokens: got %d", got.StatusCode)
		}
		r := httptest.NewRequest("PUT", "http://host/v2/"+repo+"/manifests/v1", strings.NewReader(`{"schemaVersion":2,"manifests":[]}`))
		r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		r.Header.Set(root[0], root[1])
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != http.StatusCreated {
			t.Fatalf("push: got %d: %s", w.Code, w.Body)
		}
	}
	token := func(scopes ...string) []string { return ts.token(t, "alice", hour, scopes...) }
	const base, insufficient, invalid = `Bearer realm="https://auth.example/token",service="hub.example"`, `,error="insufficient_scope"`, `,error="invalid_token"`
	mount := "/v2/team/app/blobs/uploads/?mount=" + emptyBlob + "&from=other"
	tests := []struct {
		name, method, path string
		header             []string
		status             int
		challenge          string
	}{
		{"nothing shown", "GET", "/v2/", nil, 401, base},
		{"any token enters", "GET", "/v2/", token(), 200, ""},
		{"a token of the anonymous enters", "GET", "/v2/", ts.token(t, "", hour), 200, ""},
		{"a token that has ended", "GET", "/v2/", ts.token(t, "alice", -2*time.Minute), 401, base + invalid},
		{"no token", "GET", "/v2/", []string{"Authorization", "Bearer x"}, 401, base + invalid},
		{"a password of nobody", "GET", "/v2/", []string{"Authorization", "Basic eDp5"}, 401, base},
		{"pull with pull", "GET", "/v2/team/app/blobs/" + emptyBlob, token("repository:team/app:pull"), 200, ""},
		{"pull with a token of the anonymous", "GET", "/v2/team/app/blobs/" + emptyBlob, ts.token(t, "", hour, "repository:team/app:pull"), 200, ""},
		{"pull with a star", "GET", "/v2/team/app/blobs/" + emptyBlob, token("repository:team/app:*"), 200, ""},
		{"pull of another", "GET", "/v2/other/blobs/" + emptyBlob, token("repository:team/app:pull"), 401, base + `,scope="repository:other:pull"` + insufficient},
		{"pull of a name that begins like it", "GET", "/v2/team/app2/tags/list", token("repository:team/app:pull"), 401, base + `,scope="repository:team/app2:pull"` + insufficient},
		{"pull with an empty token", "GET", "/v2/team/app/blobs/" + emptyBlob, token(), 401, base + `,scope="repository:team/app:pull"` + insufficient},
		{"push with push", "POST", post("team/app"), token("repository:team/app:pull,push"), 201, ""},
		{"push with pull", "POST", post("team/app"), token("repository:team/app:pull"), 401, base + `,scope="repository:team/app:pull,push"` + insufficient},
		{"push with push alone", "POST", post("team/app"), token("repository:team/app:push"), 401, base + `,scope="repository:team/app:pull,push"` + insufficient},
		{"delete with push", "DELETE", "/v2/team/app/blobs/" + emptyBlob, token("repository:team/app:pull,push"), 401, base + `,scope="repository:team/app:delete"` + insufficient},
		{"the catalog", "GET", "/v2/_catalog", token("registry:catalog:*"), 200, ""},
		{"the catalog with pull", "GET", "/v2/_catalog", token("repository:team/app:pull"), 401, base + `,scope="registry:catalog:*"` + insufficient},
		{"mount with both", "POST", mount, token("repository:team/app:pull,push", "repository:other:pull"), 201, ""},
		{"our own token endpoint", "GET", "/v2/token", nil, 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(s, tt.method, "http://host"+tt.path, tt.header...)
			if c := got.Header.Get("Www-Authenticate"); got.StatusCode != tt.status || c != tt.challenge {
				t.Errorf("got %d %s\nwant %d %s", got.StatusCode, c, tt.status, tt.challenge)
			}
		})
	}
	t.Run("mount of what may not be read", func(t *testing.T) {
		got := ask(s, "POST", "http://host/v2/new/blobs/uploads/?mount="+emptyBlob+"&from=other", token("repository:new:pull,push")...)
		if got.StatusCode == http.StatusCreated {
			t.Error("the blob of another repository was mounted")
		}
		got = ask(s, "POST", "http://host/v2/new/blobs/uploads/?mount="+emptyBlob, token("repository:new:pull,push")...)
		if got.StatusCode != http.StatusAccepted {
			t.Errorf("from anywhere: got %d, want 202", got.StatusCode)
		}
	})
	t.Run("the catalog is whole", func(t *testing.T) {
		body, err := io.ReadAll(ask(s, "GET", "http://host/v2/_catalog", token("registry:catalog:*")...).Body)
		if err != nil || string(body) != `{"repositories":["other","team/app"]}`+"\n" {
			t.Errorf("got %s, %v", body, err)
		}
	})
}

// TestTokenAndRules holds that a token of another server never goes beyond the
// access rules.
func TestTokenAndRules(t *testing.T) {
	ts := newTokenServer(t)
	s := open(t, func(c *config.Config) {
		ts.configure(c)
		c.Access = []config.Rule{
			{Users: []string{"alice"}, Repositories: []string{"team/**"}, Allow: []config.Allowed{config.AllowPull, config.AllowPush}},
			{Users: []string{"*"}, Repositories: []string{"public/**"}, Allow: []config.Allowed{config.AllowPull}},
		}
	})
	tests := []struct {
		name, user, method, path string
		scopes                   []string
		want                     int
	}{
		{"by both", "alice", "POST", "/v2/team/a/blobs/uploads/", []string{"repository:team/a:pull,push"}, 202},
		{"by the rule alone", "alice", "POST", "/v2/team/a/blobs/uploads/", nil, 401},
		{"by the token alone", "alice", "POST", "/v2/public/a/blobs/uploads/", []string{"repository:public/a:*"}, 403},
		{"another user", "bob", "POST", "/v2/team/a/blobs/uploads/", []string{"repository:team/a:*"}, 403},
		{"everybody", "bob", "GET", "/v2/public/a/tags/list", []string{"repository:public/a:pull"}, 404},
		{"a token of the anonymous is one", "", "GET", "/v2/public/a/tags/list", []string{"repository:public/a:pull"}, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(s, tt.method, "http://host"+tt.path, ts.token(t, tt.user, hour, tt.scopes...)...).StatusCode; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestForeignTokenExpires holds that a push which takes longer than its token
// lives goes on, for the same user and nobody else.
func TestForeignTokenExpires(t *testing.T) {
	ts := newTokenServer(t)
	s := open(t, ts.configure)
	const scope = "repository:app:pull,push"
	fresh, old := ts.token(t, "alice", hour, scope), ts.token(t, "alice", -hour, scope)
	begin := func() string {
		t.Helper()
		got := ask(s, "POST", "http://host/v2/app/blobs/uploads/", fresh...)
		if got.StatusCode != http.StatusAccepted {
			t.Fatalf("got %d", got.StatusCode)
		}
		return "http://host" + got.Header.Get("Location")
	}
	patch := func(location string, header []string) int {
		r := httptest.NewRequest("PATCH", location, strings.NewReader("x"))
		r.Header.Set(header[0], header[1])
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	if got := patch(begin(), old); got != http.StatusAccepted {
		t.Errorf("with the token that has ended: got %d, want 202", got)
	}
	if got := patch(begin(), ts.token(t, "bob", -hour, scope)); got != http.StatusNotFound {
		t.Errorf("with that of another user: got %d, want 404", got)
	}
	if got := patch(begin(), ts.token(t, "alice", -hour, "repository:app:pull")); got != http.StatusUnauthorized {
		t.Errorf("with one for less: got %d, want 401", got)
	}
	if got := patch(begin(), ts.token(t, "alice", -25*hour, scope)); got != http.StatusUnauthorized {
		t.Errorf("with one of yesterday: got %d, want 401", got)
	}
	if got := ask(s, "POST", "http://host/v2/app/blobs/uploads/", old...).StatusCode; got != http.StatusUnauthorized {
		t.Errorf("a new upload with it: got %d, want 401", got)
	}
}
