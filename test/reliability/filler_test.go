package reliability

import (
	"context"
	"fmt"
	"testing"
)

// A filler pushes images of one layer, one after the other.
type filler struct {
	c     *client
	l     *ledger         // of images: a blob alone goes when its grace is over
	acked map[string]bool // digests of all blobs that were acknowledged
	n     uint64
}

// push pushes an image with a layer of size bytes. Only what was acknowledged
// is noted.
func (f *filler) push(ctx context.Context, repo string, size int) error {
	f.n++
	layer, config := newThing(content(size, 77, f.n)), newThing(fmt.Appendf(nil, `{"n":%d}`, f.n))
	for _, b := range []thing{layer, config} {
		if err := f.c.push(ctx, repo, b); err != nil {
			return err
		}
		f.acked[b.digest] = true
	}
	body := imageManifest(config, []thing{layer}, fmt.Sprint(f.n))
	tag, d := fmt.Sprint("t", f.n), digestOf(body)
	f.l.needs(d, layer.digest, config.digest)
	if err := f.c.putManifest(ctx, repo, tag, manifestType, body); err != nil {
		return err
	}
	f.l.done(f.l.begin(map[key]string{{aManifest, repo, d}: d, {aTag, repo, tag}: d}))
	return nil
}

// compare wants everything that was acknowledged to be served.
func (f *filler) compare(t *testing.T, when string) {
	t.Helper()
	if err := inspect(t.Context(), f.c, f.l, everything, uploadsMayGo).err(); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
}
