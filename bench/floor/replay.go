package floor

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// replay does again what a journal says. A line that was not finished was not
// acknowledged either.
func (s *Server) replay(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadString('\n')
		if err == nil {
			err = s.redo(strings.TrimSuffix(line, "\n"), r)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %.100q: %w", path, line, err)
		}
	}
}

// redo does one line, whose manifest follows in r.
func (s *Server) redo(line string, r io.Reader) error {
	f := strings.SplitN(line, " ", 5)
	switch {
	case f[0] == "blob" && len(f) == 4:
		size, err := strconv.ParseInt(f[3], 10, 64)
		s.blobs[f[2]] = size
		s.repo(f[1]).blobs[f[2]] = true
		return err
	case f[0] == "link" && len(f) == 3:
		s.repo(f[1]).blobs[f[2]] = true
		return nil
	case f[0] == "delete" && len(f) == 3:
		if m := s.find(f[1], f[2]); m != nil {
			s.forget(f[1], m)
		}
		return nil
	case f[0] == "put" && len(f) == 5:
		return s.redoPut(f, r)
	}
	return errors.New("this is no line of a journal")
}

func (s *Server) redoPut(f []string, r io.Reader) error {
	size, err := strconv.ParseUint(f[1], 10, 31)
	if err != nil {
		return err
	}
	body := make([]byte, size+1) // and the end of its line
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	body = body[:size]
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	s.store(f[2], f[3], doc, newManifest("sha256:"+hex.EncodeToString(sum[:]), f[4], body))
	return nil
}
