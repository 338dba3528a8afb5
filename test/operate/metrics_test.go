package operate

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// absent lists what registry:2 tells and Berth does not, as docs/monitoring.md
// says, each with its reason there: names, or names with one label.
func absent() []string {
	return []string{
		"registry_proxy_", // a pull-through cache, which Berth isn't yet
		"registry_storage_cache_",
		`registry_storage_action_seconds{action="GetContent"`,
		`registry_storage_action_seconds{action="PutContent"`,
		`registry_storage_action_seconds{action="RedirectURL"`,
		`registry_storage_action_seconds{action="List"`,
	}
}

// series returns the series of a scrape by name and labels: those that
// registry:2 made up, without values, buckets and its runtime's.
func series(text string) map[string]bool {
	found := map[string]bool{}
	line := regexp.MustCompile(`(?m)^(registry_[a-z_]+?)(_sum|_count|_bucket)?(\{[^}]*\})? `)
	histogram := regexp.MustCompile(`(?m)^# TYPE (\S+) histogram$`)
	isHistogram := map[string]bool{}
	for _, m := range histogram.FindAllStringSubmatch(text, -1) {
		isHistogram[m[1]] = true
	}
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		name := m[1] + m[2]
		if isHistogram[m[1]] {
			name = m[1]
		}
		labels := regexp.MustCompile(`,?le="[^"]*"`).ReplaceAllString(m[3], "")
		found[strings.TrimSuffix(name+labels, "{}")] = true
	}
	return found
}

// TestOldMetrics does the same things with registry:2 and with Berth: every
// series that it tells is told by Berth under the same name, with the same
// labels, or is known to be absent and in docs/monitoring.md.
func TestOldMetrics(t *testing.T) {
	// Nobody listens at the endpoint: errors are told, too.
	endpoint := fmt.Sprintf("notifications: {endpoints: [{name: a, url: \"http://127.0.0.1:%d/\", timeout: 1s, threshold: 1, backoff: 1s}]}\n", realtest.FreePort(t))
	real := startReal(t, "registry", t.TempDir(), endpoint)
	metrics := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	reg := realtest.Start(t, realtest.Options{Args: []string{"--metrics", metrics, "--config", write(t, t.TempDir(), "berth.yml", endpoint)}})
	layout := realtest.NewLayout(t, realtest.Image{})
	skopeo, crane := realtest.Skopeo(t), realtest.Crane(t)
	for _, addr := range []string{real.addr, reg.Addr} {
		ref := addr + "/app:v1"
		skopeo.Run("copy", "--dest-tls-verify=false", "oci:"+layout.Ref(), "docker://"+ref)
		skopeo.Run("copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+filepath.Join(t.TempDir(), "out"))
		crane.Run("ls", addr+"/app")
		crane.Run("catalog", addr)
		crane.Fails("manifest", addr+"/app:none")
		crane.Run("delete", addr+"/app@"+layout.Digest)
	}
	for _, addr := range []string{real.debug, metrics} {
		soon(t, func() error {
			if _, _, text := get(t, "http://"+addr+"/metrics"); !strings.Contains(text, `endpoint="a",type="Errors"`) {
				return fmt.Errorf("%s tells of no failed notification:\n%s", addr, text)
			}
			return nil
		})
	}
	_, _, theirs := get(t, "http://"+real.debug+"/metrics")
	_, _, ours := get(t, "http://"+metrics+"/metrics")
	have := series(ours)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	unused := map[string]bool{}
	for _, a := range absent() {
		unused[a] = true
	}
	compared := 0
	for _, s := range slices.Sorted(maps.Keys(series(theirs))) {
		if i := slices.IndexFunc(absent(), func(a string) bool { return strings.HasPrefix(s, a) }); i >= 0 {
			delete(unused, absent()[i])
			name := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(s)
			if name == nil {
				name = []string{"", regexp.MustCompile(`^registry_[a-z]+(_cache)?_`).FindString(s)}
			}
			if !strings.Contains(string(page), "`"+name[1]) {
				t.Errorf("%s is absent, and docs/monitoring.md does not name %s", s, name[1])
			}
			continue
		}
		compared++
		// A client may try something once more with one than with the other, so the
		// status is not compared where it is a label.
		status := regexp.MustCompile(`code="[^"]*"`)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(have)), func(o string) bool {
			return status.ReplaceAllString(o, "") == status.ReplaceAllString(s, "")
		}) {
			t.Errorf("registry:2 tells %s, and Berth doesn't", s)
		}
	}
	if compared < 20 {
		t.Errorf("only %d series of registry:2 were compared:\n%s", compared, theirs)
	}
	delete(unused, `registry_storage_action_seconds{action="List"`) // in collections only
	for a := range unused {
		t.Errorf("registry:2 tells no %s: it need not be listed as absent", a)
	}
}
