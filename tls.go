package berth

import (
	"context"
	"crypto/tls"
	"net/url"

	"berth/config"
	"berth/internal/listen"
)

// A door is what TLS needs: nothing if it is off.
type door struct {
	tls *tls.Config // nil means plain http
	run func(context.Context) error
}

// openDoor loads the certificate, if TLS is configured.
func (s *Server) openDoor() (door, error) {
	t := s.cfg.HTTP.TLS
	if !t.Enabled() {
		return door{}, nil
	}
	certs, err := listen.LoadCertificates(s.certificateOptions())
	if err != nil {
		return door{}, err
	}
	o := s.tlsOptions()
	o.Certificate = certs.Get
	c, err := listen.NewTLSConfig(o)
	return door{tls: c, run: certs.Run}, err
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
