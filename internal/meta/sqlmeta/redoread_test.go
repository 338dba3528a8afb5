package sqlmeta

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReadRun holds that the records of a run are found in whichever part of the file
// they are, and that nothing else is taken for them.
func TestReadRun(t *testing.T) {
	record := func(run, seq int64) []byte {
		b := appendHead(nil)
		sealRecord(b, run, seq)
		return b
	}
	damaged := record(7, 1)
	damaged[len(damaged)-1] ^= 1
	for name, tt := range map[string]struct {
		first, second []byte
		run           int64
		want          int
	}{
		"first part":     {append(record(7, 1), record(7, 2)...), record(8, 1), 7, 2},
		"second part":    {append(record(7, 1), record(7, 2)...), record(8, 1), 8, 1},
		"another run":    {record(7, 1), record(8, 1), 9, 0},
		"none was begun": {record(7, 1), nil, 0, 0},
		"damaged":        {damaged, nil, 7, 0},
		"short file":     {record(7, 1)[:20], nil, 7, 0},
		"empty file":     {nil, nil, 7, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "redo"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(tt.first, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(tt.second, runSize); err != nil {
				t.Fatal(err)
			}
			list, err := (&redo{held: f}).read(tt.run)
			if err != nil || len(list) != tt.want {
				t.Errorf("got %d records and error %v, want %d", len(list), err, tt.want)
			}
			for i, r := range list {
				if r.run != tt.run || r.seq != int64(i+1) {
					t.Errorf("record %d is number %d of run %d", i, r.seq, r.run)
				}
			}
		})
	}
}
