package berth

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"berth/config"
	"berth/internal/auth"
	"berth/internal/auth/bearer"
	"berth/internal/auth/htpasswd"
	"berth/internal/auth/token"
	"berth/internal/distapi"
)

// login is how clients log in, and what they may do then.
type login struct {
	policy *auth.Rules
	users  *htpasswd.File // nil without a password file
	proxy  string         // the header in which a proxy names its user; empty without one
	tokens *token.Issuer  // only where the anonymous have rights beside users: docker needs a Bearer challenge there

	// server makes tokens for this registry, in place of tokens; nil without one.
	server *distapi.TokenServer
}

func openLogin(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *login, err error) {
	l := &login{policy: newPolicy(cfg), proxy: cfg.Auth.ProxyHeader}
	if cfg.Auth.Htpasswd.Path != "" {
		if l.users, err = htpasswd.New(ctx, htpasswd.Options{Path: cfg.Auth.Htpasswd.Path, Log: log}); err != nil {
			return nil, err
		}
	}
	if t := cfg.Auth.Token; t.Enabled() {
		l.server, err = openTokenServer(t)
		return l, err
	}
	if !cfg.Auth.LogIn() || !l.policy.LetsAnonymous() {
		return l, nil
	}
	key, err := loadTokenKey(filepath.Join(cfg.Data, ownDir))
	if err != nil {
		return nil, err
	}
	if l.tokens, err = token.NewIssuer(key, time.Now); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	return l, nil
}

// openTokenServer reads the keys of the token server.
func openTokenServer(t config.Token) (*distapi.TokenServer, error) {
	v, err := bearer.New(bearer.Options{
		Issuer: t.Issuer, Service: t.Service,
		RootCertBundle: t.RootCertBundle, JWKS: t.JWKS,
		Algorithms: t.Algorithms,
	})
	if err != nil {
		return nil, err
	}
	return &distapi.TokenServer{Realm: t.Realm, Service: t.Service, Verifier: v}, nil
}

// authenticator returns what checks passwords; nil without a password file.
func (l *login) authenticator() auth.Authenticator {
	if l.users == nil {
		return nil
	}
	return l.users
}

// known reports whether the user of a token is still one. Who is a user of the
// proxy's, only the proxy knows.
func (l *login) known(p auth.Principal) bool {
	if p.Via == auth.ViaProxy {
		return l.proxy != ""
	}
	return l.users != nil && l.users.Known(p)
}
