package reliability

import (
	"testing"
	"time"

	"berth/test/realtest"
)

// TestSoakKills is TestKills, hundreds of times.
func TestSoakKills(t *testing.T) {
	realtest.Soak(t)
	testKills(t, count(t, "BERTH_TEST_KILLS", 300), 1500*time.Millisecond)
}

// TestSoakPowerLosses is TestPowerLosses, more than a hundred times.
func TestSoakPowerLosses(t *testing.T) {
	realtest.Soak(t)
	testPowerLosses(t, count(t, "BERTH_TEST_POWERLOSSES", 150), 1500*time.Millisecond)
}

// TestSoakCopies is TestCopyWhileRunning, more often.
func TestSoakCopies(t *testing.T) {
	realtest.Soak(t)
	testCopies(t, count(t, "BERTH_TEST_COPIES", 30))
}
