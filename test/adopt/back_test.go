package adopt

import (
	"net/http"
	"testing"
)

// TestThereAndBack takes a directory from a real registry to Berth, back and to
// Berth again; each serves what the other one has, and what it did meanwhile.
func TestThereAndBack(t *testing.T) {
	for _, name := range rivals() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p, r := startRival(t, name, dir)
			first := newImage(t, "first", imageType)
			r.push("team/app", "v1", first)
			r.push("team/app", "keep", first)
			r.push("team/app", "gone", newImage(t, "to be deleted", imageType))
			r.push("old", "latest", newImage(t, "docker's", oldType))
			r.pushIndex("multi", "latest", "multi")
			before := r.contents()
			p.Stop()

			berth, b := startBerth(t, dir)
			same(t, "Berth after "+name, b.contents(), before)
			if _, own := blobFiles(t, dir); own != 0 {
				t.Errorf("%d blobs were copied", own)
			}
			second := newImage(t, "second", imageType)
			b.push("team/app", "v1", second) // moves it
			b.push("team/app", "v2", second)
			b.push("new/one", "latest", newImage(t, "new", imageType))
			b.pushIndex("multi", "next", "next")
			b.want(http.StatusCreated, "POST", "/v2/new/one/blobs/uploads/?mount="+sum256(first.parts[1])+"&from=team/app", "", nil)
			b.want(http.StatusAccepted, "DELETE", "/v2/team/app/manifests/"+sum256(newImage(t, "to be deleted", imageType).manifest), "", nil)
			during := b.contents()
			berth.Stop()

			p, r = startRival(t, name, dir)
			same(t, name+" after Berth", r.contents(), during)
			r.want(http.StatusOK, "GET", "/v2/new/one/blobs/"+sum256(first.parts[1]), "", nil)
			third := newImage(t, "third", imageType)
			r.push("team/app", "v2", third)
			r.push("team/app", "v3", third)
			r.push("while/away", "latest", newImage(t, "while away", imageType))
			r.push("again", "latest", second) // whose blobs Berth has written
			r.want(http.StatusAccepted, "DELETE", "/v2/old/manifests/"+sum256(newImage(t, "docker's", oldType).manifest), "", nil)
			after := r.contents()
			p.Stop()

			berth, b = startBerth(t, dir)
			same(t, "Berth after "+name+" again", b.contents(), after)
			b.want(http.StatusOK, "GET", "/v2/while/away/tags/list", "", nil)
			berth.Stop()
			berth, b = startBerth(t, dir)
			same(t, "Berth once more", b.contents(), after)

			adopt(t, dir, "--finish", "--yes")
			same(t, "Berth, finished", b.contents(), after)
			if data, own := blobFiles(t, dir); data != 0 || own == 0 {
				t.Errorf("after the end there are %d files of registry:2 and %d of Berth", data, own)
			}
			b.push("last", "latest", newImage(t, "last", imageType))
			final := b.contents()
			berth.Restart()
			same(t, "Berth, finished and started again", b.contents(), final)
		})
	}
}
