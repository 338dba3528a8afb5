package berth

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"

	"berth/config"
	"berth/internal/acme"
	"berth/internal/listen"
)

// A door is what TLS needs: nothing if it is off.
type door struct {
	tls *tls.Config // nil means plain http
	run func(context.Context) error

	// challenges answers an ACME server over plain http; nil if it isn't to.
	challenges http.Handler
}

// openDoor loads the certificate, or prepares to get one, if TLS is configured.
func (s *Server) openDoor() (door, error) {
	t := s.cfg.HTTP.TLS
	switch {
	case t.ACME.Enabled():
		return s.openACME(t.ACME)
	case t.Enabled():
		return s.openCertificate()
	}
	return door{}, nil
}

func (s *Server) openCertificate() (door, error) {
	certs, err := listen.LoadCertificates(s.certificateOptions())
	if err != nil {
		return door{}, err
	}
	o := s.tlsOptions()
	o.Certificate = certs.Get
	c, err := listen.NewTLSConfig(o)
	return door{tls: c, run: certs.Run}, err
}

func (s *Server) openACME(a config.ACME) (door, error) {
	certs, err := acme.New(acme.Options{
		Hosts: a.Hosts, Email: a.Email, Directory: a.Directory, Cache: a.Cache,
		CAFile: a.CA, EABID: a.EABID, EABFile: a.EABKey, Log: s.log,
	})
	if err != nil {
		return door{}, err
	}
	o := s.tlsOptions()
	o.Certificate, o.Challenge = certs.Get, acme.Protocol
	c, err := listen.NewTLSConfig(o)
	d := door{tls: c, run: certs.Run}
	if a.Listen != "" {
		d.challenges = certs.Handler(s.httpsURL())
	}
	return d, err
}

// httpsURL is the scheme and host of external_url if that is one of https.
func (s *Server) httpsURL() string {
	if u, err := url.Parse(s.cfg.HTTP.ExternalURL); err == nil && u.Scheme == "https" {
		return "https://" + u.Host
	}
	return ""
}

func (s *Server) certificateOptions() listen.CertificateOptions {
	o := listen.CertificateOptions{CertFile: s.cfg.HTTP.TLS.Certificate, KeyFile: s.cfg.HTTP.TLS.Key, Log: s.log}
	if u, err := url.Parse(s.cfg.HTTP.ExternalURL); err == nil && u.Hostname() != "" {
		o.ExpectHosts = []string{u.Hostname()}
	}
	return o
}

func (s *Server) tlsOptions() listen.TLSOptions {
	t := s.cfg.HTTP.TLS
	o := listen.TLSOptions{Ciphers: t.CipherSuites(), ClientCAs: t.ClientCA, ClientAuth: clientAuth(t.ClientAuth), Log: s.log}
	if t.Minimum == config.TLS13 {
		o.MinVersion = tls.VersionTLS13
	}
	return o
}

func clientAuth(a config.ClientAuth) tls.ClientAuthType {
	switch a {
	case config.ClientAuthRequest:
		return tls.RequestClientCert
	case config.ClientAuthRequire:
		return tls.RequireAnyClientCert
	case config.ClientAuthVerify:
		return tls.VerifyClientCertIfGiven
	case config.ClientAuthRequireAndVerify:
		return tls.RequireAndVerifyClientCert
	}
	return tls.NoClientCert
}
