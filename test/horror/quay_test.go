package horror

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func soaking() bool { return os.Getenv("BERTH_SOAK") != "" }

// A result is what became of pushes.
type result struct {
	pushes, slow int
	refused      []string
}

func (r *result) add(o result) {
	r.pushes += o.pushes
	r.slow += o.slow
	r.refused = append(r.refused, o.refused...)
}

// share pushes an image as docker does: it asks for each blob and uploads what is
// not there, then pushes the manifest. The layers are shared with other clients,
// and every image is deleted after a while. A refusal counts if the push took no
// longer than the promise that a HEAD gives.
func (r *registry) share(client, i int, promise time.Duration) result {
	const repo = "shared"
	sum := result{pushes: 1}
	m, parts := imageOf(fmt.Sprint(client, i), fmt.Sprint("layer ", i%7), fmt.Sprint("layer ", i%11), fmt.Sprint("layer ", (client+i)%13))
	begin := time.Now()
	for _, b := range parts {
		a, err := r.send(http.MethodHead, "/v2/"+repo+"/blobs/"+digestOf(b), "", nil)
		if err == nil && a.status == http.StatusNotFound {
			a, err = r.send(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digestOf(b), "application/octet-stream", b)
		}
		if err != nil || a.status != http.StatusOK && a.status != http.StatusCreated {
			sum.refused = append(sum.refused, fmt.Sprintf("blob: %d %s %v", a.status, a.body, err))
			return sum
		}
	}
	a, err := r.send(http.MethodPut, fmt.Sprintf("/v2/%s/manifests/tag%d-%d", repo, client, i%3), typeImage, encode(m))
	switch took := time.Since(begin); {
	case err == nil && a.status == http.StatusCreated:
	case took > promise:
		sum.slow++
	default:
		sum.refused = append(sum.refused, fmt.Sprintf("manifest after %v: %d %s %v", took, a.status, a.body, err))
	}
	// What the tag led to before is deleted: its layers are garbage, or not.
	if old, _ := imageOf(fmt.Sprint(client, i-3), fmt.Sprint("layer ", (i-3)%7), fmt.Sprint("layer ", (i-3)%11), fmt.Sprint("layer ", (client+i-3)%13)); i >= 3 {
		a, err := r.send(http.MethodDelete, "/v2/"+repo+"/manifests/"+digestOf(encode(old)), "", nil)
		if err != nil || a.status != http.StatusAccepted && a.status != http.StatusNotFound {
			sum.refused = append(sum.refused, fmt.Sprintf("delete: %d %s %v", a.status, a.body, err))
		}
	}
	return sum
}
