package registry2

import (
	"fmt"

	"berth/config"
)

// Translate reads a configuration file of registry:2. It refuses every one for
// now, and says what works instead.
func Translate(_ string, _ []byte) (config.Overlay, error) {
	return config.Overlay{}, fmt.Errorf("%w: reading such a file comes with a later release; until then set REGISTRY_HTTP_ADDR, "+
		"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY, REGISTRY_STORAGE_DELETE_ENABLED, REGISTRY_AUTH_HTPASSWD_PATH, "+
		"REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY in the environment, which work already, or write a file in Berth's own form", config.ErrRegistry2)
}
