package htpasswd

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

const (
	shaOfP  = "{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k="
	bcOfP   = "$2y$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG"
	desText = "/odsO6SZd14sc"
)

// inUTF16 encodes s, which may begin with a byte order mark.
func inUTF16(order binary.AppendByteOrder, s string) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// TestEncodings reads the same two users out of everything that editors and
// shells make of a file.
func TestEncodings(t *testing.T) {
	const bom = "\ufeff"
	ascii := "bob:" + bcOfP + "\r\n"
	both := ascii + "上海:" + shaOfP + "\r\n"
	little, big := binary.LittleEndian, binary.BigEndian
	tests := []struct {
		name, data string
		want       Encoding
		users      []string
	}{
		{"UTF-8", both, UTF8, []string{"bob", "上海"}},
		{"UTF-8 without last newline", strings.TrimSpace(both), UTF8, []string{"bob", "上海"}},
		{"UTF-8 with mark, as Notepad saves", bom + both, UTF8BOM, []string{"bob", "上海"}},
		{"UTF-16 LE with mark, as > in PowerShell writes", inUTF16(little, bom+both), UTF16Little, []string{"bob", "上海"}},
		{"UTF-16 LE without mark", inUTF16(little, both), UTF16Little, []string{"bob", "上海"}},
		{"UTF-16 BE with mark", inUTF16(big, bom+both), UTF16Big, []string{"bob", "上海"}},
		{"UTF-16 BE without mark", inUTF16(big, both), UTF16Big, []string{"bob", "上海"}},
		{"UTF-16 LE cut in a character", inUTF16(little, bom+both)[:len(bom+ascii)*2-1], UTF16Little, []string{"bob"}},
		{"UTF-16 LE added to UTF-8 by >>", ascii + inUTF16(little, "eve:"+shaOfP+"\r\n"), Mixed, []string{"bob", "eve"}},
		{"UTF-16 LE added to UTF-8 with mark", bom + ascii + inUTF16(little, bom+"eve:"+shaOfP+"\r\n"), Mixed, []string{"bob", "eve"}},
		{"UTF-8 added to UTF-16 LE", inUTF16(little, bom+ascii) + "eve:" + shaOfP + "\n", Mixed, []string{"bob", "eve"}},
		{"much UTF-16 behind a line of UTF-8", ascii + strings.Repeat(inUTF16(little, "eve:"+shaOfP+"\r\n"), 9), Mixed, []string{"bob", "eve"}},
		{"only a mark", "\xff\xfe", UTF16Little, nil},
		{"nothing", "", UTF8, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, encoding := decodeText([]byte(tt.data))
			if encoding != tt.want {
				t.Errorf("got %v, want %v", encoding, tt.want)
			}
			users := slices.Sorted(maps.Keys(parseTable(text).users))
			if !slices.Equal(users, tt.users) {
				t.Errorf("got users %q, want %q", users, tt.users)
			}
		})
	}
}

func TestParseTable(t *testing.T) {
	tests := []struct {
		name, text string
		users      []string
		problems   map[int]error
		weak       []int
	}{
		{"blank lines and comments", "\n  \t\n# a:" + bcOfP + "\n  # b\n\r\n", nil, nil, nil},
		{"blanks around lines", "  bob:" + bcOfP + "  \t\r\n", []string{"bob"}, nil, nil},
		{"blank in a name", "bob smith:" + bcOfP, []string{"bob smith"}, nil, nil},
		{"more fields", "bob:" + bcOfP + ":Bob:comment", []string{"bob"}, nil, nil},
		{"weak kinds", "a:" + shaOfP + "\nb:" + bcOfP + "\nc:$apr1$Vo8UTm3h$2SvKU3xLhlW/2Da44hlGF1\n", []string{"a", "b", "c"}, nil, []int{1, 3}},
		{"no colon", "bob\na:" + bcOfP, []string{"a"}, map[int]error{1: errNoColon}, nil},
		{"no user", "a:" + bcOfP + "\n:" + bcOfP, []string{"a"}, map[int]error{2: errNoUser}, nil},
		{"no hash", "a:\nb:  ", nil, map[int]error{1: errEmptyHash, 2: errEmptyHash}, nil},
		{"DES and clear text", "a:" + desText + "\nb:secret\nc:$y$x", nil, map[int]error{1: errDES, 2: errClear, 3: errUnknown}, nil},
		{"not UTF-8", "b\xf6b:" + bcOfP, nil, map[int]error{1: errUserText}, nil},
		{"control character", "b\x1bb:" + bcOfP, nil, map[int]error{1: errUserText}, nil},
		{"the first line counts", "a:" + bcOfP + "\na:" + shaOfP, []string{"a"}, map[int]error{2: errDuplicate}, nil},
		{"the first line counts, even to lock out", "a:!\na:" + bcOfP, nil, map[int]error{1: errClear, 2: errDuplicate}, nil},
		{"names differ by case", "a:" + bcOfP + "\nA:" + bcOfP, []string{"A", "a"}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parseTable([]byte(tt.text))
			if users := slices.Sorted(maps.Keys(got.users)); !slices.Equal(users, tt.users) {
				t.Errorf("got users %q, want %q", users, tt.users)
			}
			problems := make(map[int]string)
			for _, p := range got.problems {
				problems[p.Line] = p.Reason
			}
			want := make(map[int]string)
			for line, err := range tt.problems {
				want[line] = err.Error()
			}
			if !maps.Equal(problems, want) {
				t.Errorf("got problems %v, want %v", problems, want)
			}
			if !slices.Equal(got.weak, tt.weak) {
				t.Errorf("got weak lines %v, want %v", got.weak, tt.weak)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	problems := []Problem{{2, "x"}, {3, "y"}, {5, "x"}}
	for n := range 30 {
		problems = append(problems, Problem{n + 10, "z"})
	}
	got := strings.Join(describe(problems), "\n")
	want := "lines 2, 5: x\nline 3: y\nlines 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29 and 10 more: z"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("bob:" + bcOfP + "\r\n# x\n\nbob:" + shaOfP + "\n:\nx"))
	f.Add([]byte("\xef\xbb\xbfbob:" + bcOfP))
	f.Add([]byte(inUTF16(binary.LittleEndian, "\ufeffbob:"+bcOfP+"\r\n")))
	f.Add([]byte(inUTF16(binary.BigEndian, "bob:"+bcOfP+"\n")))
	f.Add([]byte("bob:" + bcOfP + "\n" + inUTF16(binary.LittleEndian, "eve:"+shaOfP+"\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, _ := decodeText(data)
		got := parseTable(text)
		for name, u := range got.users {
			if name == "" || name != u.name || strings.ContainsAny(name, ":\n\x00") {
				t.Errorf("bad user name %q", name)
			}
			if _, err := ParseHash(u.stored); err != nil {
				t.Errorf("user %q has an unusable hash: %v", name, err)
			}
		}
		lines := 0
		for line := range strings.SplitSeq(string(text), "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines++
			}
		}
		if len(got.users)+len(got.problems) != lines {
			t.Errorf("%d users and %d problems in %d lines", len(got.users), len(got.problems), lines)
		}
	})
}

func TestDocument(t *testing.T) {
	const before = "# people\r\n\r\n  bob:x \r\nbad line\r\neve:y\nbob:z\nlast:1"
	tests := []struct {
		name string
		edit func(*Document) int
		want string
		n    int
	}{
		{"nothing", func(d *Document) int { return 0 }, before, 0},
		{"set", func(d *Document) int { return d.Set("eve", "new") }, strings.Replace(before, "eve:y", "eve:new", 1), 1},
		{"set each line", func(d *Document) int { return d.Set("bob", "new") },
			"# people\r\n\r\nbob:new\nbad line\r\neve:y\nbob:new\nlast:1", 2},
		{"add", func(d *Document) int { return d.Set("new", "h") }, before + "\nnew:h\n", 0},
		{"remove", func(d *Document) int { return d.Remove("bob") }, "# people\r\n\r\nbad line\r\neve:y\nlast:1", 2},
		{"remove the last", func(d *Document) int { return d.Remove("last") }, strings.TrimSuffix(before, "last:1"), 1},
		{"remove nobody", func(d *Document) int { return d.Remove("bad line") }, before, 0},
		{"remove a comment", func(d *Document) int { return d.Remove("# people") }, before, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := parseDocument([]byte(before))
			n := tt.edit(d)
			if got := d.text(); got != tt.want || n != tt.n {
				t.Errorf("got %d, %q\nwant %d, %q", n, got, tt.n, tt.want)
			}
		})
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte("bob:x\n# c\r\n\nbad\nbob:y"), "bob")
	f.Add([]byte(inUTF16(binary.LittleEndian, "\ufeffbob:x\r\n")), "eve")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if CheckUser(name) != nil {
			return
		}
		d := parseDocument(data)
		others := func() []string {
			var all []string
			for _, e := range d.Entries() {
				if e.User != name {
					all = append(all, e.User+":"+e.Stored)
				}
			}
			return all
		}
		before := others()
		d.Set(name, bcOfP)
		again := parseDocument([]byte(d.text()))
		if again.Encoding == UTF8 && again.text() != d.text() {
			t.Errorf("written %q, read %q", d.text(), again.text())
		}
		if d.Remove(name) == 0 {
			t.Errorf("user %q was set and is not there", name)
		}
		if after := others(); !slices.Equal(before, after) {
			t.Errorf("others were %q, are %q", before, after)
		}
	})
}

func TestCheckUser(t *testing.T) {
	for name, ok := range map[string]bool{
		"bob": true, "bob smith": true, "böb": true, "a#b": true, strings.Repeat("a", 255): true,
		"": false, "a:b": false, "#a": false, " a": false, "a ": false, "a\nb": false, "a\x00": false, "\xff": false,
		strings.Repeat("a", 256): false,
	} {
		err := CheckUser(name)
		if (err == nil) != ok {
			t.Errorf("%q: got %v, want allowed %v", name, err, ok)
		}
		if ok && len(parseTable([]byte(name+":"+bcOfP)).users) != 1 {
			t.Errorf("%q is allowed and cannot be read back", name)
		}
	}
}

// writeFile writes a file and returns its path.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
