package reliability

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// seed returns where the randomness of a test starts: BERTH_TEST_SEED, or a new
// one, which is logged. What is pushed follows from it; when things happen does
// not, so a failure need not come again with the same seed.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64N(1 << 32)
	if s := os.Getenv("BERTH_TEST_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("BERTH_TEST_SEED: %v", err)
		}
	}
	t.Logf("BERTH_TEST_SEED=%d", n)
	return n
}

// count returns the number in the environment variable name, or n without one.
func count(t *testing.T, name string, n int) int {
	t.Helper()
	if s := os.Getenv(name); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			t.Fatalf("%s=%s is not a number of times", name, s)
		}
	}
	return n
}

// newRand returns a source of randomness for one of several users of a seed.
func newRand(seed uint64, user int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(user))) }

// quiet are settings for tests that make very many requests, or fill small disks.
func quiet() []string {
	return []string{"BERTH_LOG_ACCESS=false", "BERTH_STORAGE_RESERVE=1MiB"}
}

// collecting are settings under which garbage goes as fast as it can, and what is
// deleted is garbage.
func collecting() []string {
	return []string{"BERTH_GC_EVERY=1s", "BERTH_GC_GRACE=1s", "BERTH_GC_DELAY=0s", "BERTH_TRASH_KEEP=0s"}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
