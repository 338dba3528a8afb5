package ops

import "testing"

func TestSamples(t *testing.T) {
	m := NewMetrics("1")
	value := 1.0
	samples := func() []Sample { return []Sample{{value, []string{"a", "x"}}, {2, []string{"b", "y\n"}}} }
	if err := m.GaugeSamples("some_gauge", "Some.", []string{"one", "two"}, samples); err != nil {
		t.Fatal(err)
	}
	if err := m.CounterSamples("some_total", "Some.", []string{"one", "two"}, samples); err != nil {
		t.Fatal(err)
	}
	if err := m.CounterSamples("some_total", "Some.", []string{"one", "two"}, samples); err == nil {
		t.Error("no error for a name that is taken")
	}
	wantLines(t, scrape(t, m), `some_gauge{one="a",two="x"} 1`, `some_total{one="b",two="y\n"} 2`)
	value = 7
	wantLines(t, scrape(t, m), `some_gauge{one="a",two="x"} 7`)
}
