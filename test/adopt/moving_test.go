package adopt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"
)

// A mover moves tags of one repository round and round among manifests that are
// there already, and knows what it was told.
type mover struct {
	client
	repo   string
	tags   []string
	images []image
	turn   int

	acknowledged, underWay map[string]string // digests by tag
}

// run moves tags until the server no longer answers.
func (m *mover) run() {
	for {
		m.turn++
		tag, i := m.tags[m.turn%len(m.tags)], m.images[m.turn%len(m.images)]
		m.underWay[tag] = sum256(i.manifest)
		req, err := http.NewRequest("PUT", m.url+"/v2/"+m.repo+"/manifests/"+tag, bytes.NewReader(i.manifest))
		if err != nil {
			m.t.Error(err)
			return
		}
		req.Header.Set("Content-Type", i.kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			m.t.Errorf("move %s: %s", tag, resp.Status)
			return
		}
		m.acknowledged[tag] = m.underWay[tag]
	}
}

// check holds that each tag is where the mover was told last that it is, or where
// it was being moved to.
func (m *mover) check(when string) {
	m.t.Helper()
	for tag, want := range m.acknowledged {
		resp, _ := m.want(http.StatusOK, "HEAD", "/v2/"+m.repo+"/manifests/"+tag, "", nil)
		got := resp.Header.Get("Docker-Content-Digest")
		if got != want && got != m.underWay[tag] {
			m.t.Errorf("%s: %s is %s, was acknowledged as %s and being moved to %s", when, tag, got, want, m.underWay[tag])
		}
		m.acknowledged[tag] = got
	}
}

// TestKilledWhileMoving kills the server while tags move faster than their links
// are written, and holds that the next start does not take a link that Berth wrote
// itself, and that is older than what it has acknowledged since, for one of
// registry:2's.
func TestKilledWhileMoving(t *testing.T) {
	dir := t.TempDir()
	maker{t, dir}.many(1, 1)
	berth, b := startBerth(t, dir)
	const movers, tags, images = 3, 12, 7
	var all []*mover
	for n := range movers {
		m := &mover{client: b, repo: fmt.Sprintf("moving/app%d", n), acknowledged: map[string]string{}, underWay: map[string]string{}}
		for i := range images {
			m.images = append(m.images, newImage(t, fmt.Sprint(n, i), imageType))
			b.push(m.repo, "", m.images[i])
		}
		for i := range tags {
			m.tags = append(m.tags, fmt.Sprint("v", i))
		}
		all = append(all, m)
	}
	rounds := 6
	if os.Getenv("BERTH_SOAK") != "" {
		rounds = 60
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		var moving sync.WaitGroup
		for _, m := range all {
			moving.Go(m.run)
		}
		<-time.After(time.Duration(300+r.IntN(900)) * time.Millisecond)
		berth.Kill()
		moving.Wait()
		berth.Restart()
		for _, m := range all {
			m.check(fmt.Sprint("round ", round))
		}
	}
	want := b.contents()
	berth.Stop()
	_, rival := startRival(t, "registry", dir)
	same(t, "registry after the kills", rival.contents(), want)
}
