package registry2

import (
	"fmt"

	"berth/config"
)

const defaultOrigin = "default of registry:2"

// Defaults returns the defaults of a mode, for [config.Sources].Base: those of
// registry:2 where they differ from Berth's and Berth is called as registry.
func Defaults(as Mode) config.Overlay {
	if as != Registry {
		return config.Overlay{}
	}
	return config.Overlay{Defaults: []config.Value{
		listenDefault(),
		config.Scalar("data", "/var/lib/registry", defaultOrigin),
		config.Scalar("delete.enabled", "false", defaultOrigin),
	}}
}

// listenDefault is where registry:2 listens: on every network.
func listenDefault() config.Value {
	return config.List("http.listen", []string{":5000"}, defaultOrigin)
}

// Translate reads a configuration file of registry:2. It refuses every one for
// now, and says what works instead.
func Translate(_ string, _ []byte) (config.Overlay, error) {
	return config.Overlay{}, fmt.Errorf("%w: reading such a file comes with a later release; until then set REGISTRY_HTTP_ADDR, "+
		"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY, REGISTRY_STORAGE_DELETE_ENABLED, REGISTRY_AUTH_HTPASSWD_PATH, "+
		"REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY in the environment, which work already, or write a file in Berth's own form", config.ErrRegistry2)
}
