package berth

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"berth/config"
	"berth/internal/auth"
	"berth/internal/auth/htpasswd"
	"berth/internal/auth/token"
)

// login is how clients log in, and what they may do then. users is nil when
// nobody can log in: everything is open then.
type login struct {
	policy auth.Policy
	users  *htpasswd.File
	tokens *token.Issuer // only where the anonymous may pull: docker needs a Bearer challenge there
}

func openLogin(ctx context.Context, cfg config.Config, log *slog.Logger) (*login, error) {
	if !cfg.Auth.LogIn() {
		return &login{policy: auth.AllowAll{}}, nil
	}
	users, err := htpasswd.New(ctx, htpasswd.Options{Path: cfg.Auth.Htpasswd.Path, Log: log})
	if err != nil {
		return nil, err
	}
	l := &login{users: users, policy: auth.LogIn{AnonymousPull: cfg.Auth.Anonymous == config.AnonymousPull}}
	if cfg.Auth.Anonymous != config.AnonymousPull {
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

// authenticator returns what checks passwords; nil without log-in.
func (l *login) authenticator() auth.Authenticator {
	if l.users == nil {
		return nil
	}
	return l.users
}

// known reports whether the user of a token is still one. Tokens are only made
// where there are users.
func (l *login) known(p auth.Principal) bool { return l.users != nil && l.users.Known(p) }
