package peers

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// NodeModules returns the folder in which the JavaScript programs of
// node/package.json are installed, and skips the test if they are not:
// npm ci --prefix internal/peers/node installs them.
func NodeModules(t testing.TB) string {
	t.Helper()
	Need(t, "node")
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(here), "node", "node_modules")
	if _, err := os.Stat(dir); err != nil {
		Missing(t, "peers: run npm ci --prefix internal/peers/node")
	}
	return dir
}
