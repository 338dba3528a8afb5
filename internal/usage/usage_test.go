package usage

import (
	"fmt"
	"slices"
	"testing"
)

// TestLargest holds that of many layers the largest stay, in order, however they
// come, and those of the same size by digest.
func TestLargest(t *testing.T) {
	var layers []Layer
	for i := range int64(50) {
		layers = append(layers, Layer{Digest: fmt.Sprintf("sha256:%02d", i), Bytes: i * 7 % 10})
	}
	for _, n := range []int{0, 1, 3, 49, 50, 60} {
		var got []Layer
		for _, l := range layers {
			got = largest(got, l, n)
		}
		want := slices.Clone(layers)
		slices.SortStableFunc(want, func(a, b Layer) int { return int(b.Bytes - a.Bytes) })
		want = want[:min(n, len(want))]
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the %d largest: got %v, want %v", n, got, want)
		}
	}
}
