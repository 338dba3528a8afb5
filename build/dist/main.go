package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// programName is how the program, its archives and its image are called.
const programName = "berth"

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// settings say what is made, of what, and where it goes.
type settings struct {
	root      string // of the sources
	out       string
	tree      string
	version   string
	date      time.Time
	platforms []platform
	pgo       string // a profile by which the program is optimised; "off" is none
	say       io.Writer
}

func run(args []string, say io.Writer) error {
	s, err := parse(args, say)
	if err != nil {
		return err
	}
	if s.tree != "" {
		return s.layOut()
	}
	return s.everything()
}

// parse reads the command line, and finds out what it leaves open.
func parse(args []string, say io.Writer) (settings, error) {
	s := settings{say: say}
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	flags.SetOutput(say)
	flags.StringVar(&s.root, "root", ".", "the `folder` of the sources")
	flags.StringVar(&s.out, "out", "dist", "the `folder` that the files go to")
	flags.StringVar(&s.tree, "tree", "", "only lay out the files of the image, for this processor, in this `folder`")
	flags.StringVar(&s.version, "version", "", "the `version`; default: what git describe says, else dev")
	flags.StringVar(&s.pgo, "pgo", "build/berth.pgo", "the `profile`, within the sources, by which the program is optimised, or off")
	list := flags.String("platforms", "", "only these, such as linux/amd64,linux/arm/v7; default: all six")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("what is %q? There are only flags: see -help", flags.Arg(0))
	}
	var err error
	if s.platforms, err = parsePlatforms(*list); err != nil {
		return s, err
	}
	if _, err := os.Stat(filepath.Join(s.root, "go.mod")); err != nil {
		return s, fmt.Errorf("no sources here: run it in the root folder of the repository, or name that with -root (%w)", err)
	}
	if s.version == "" {
		s.version = describe(s.root)
	}
	s.date, err = date(s.root, os.Getenv("SOURCE_DATE_EPOCH"))
	return s, err
}

// describe returns the version that git knows, without the v of a tag.
func describe(root string) string {
	out, err := git(root, "describe", "--tags", "--always", "--dirty")
	if err != nil || out == "" {
		return "dev"
	}
	if rest, ok := strings.CutPrefix(out, "v"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		return rest
	}
	return out
}

// date returns the date that everything gets. Where neither the environment nor
// git has one it is the first that a zip archive can hold.
func date(root, epoch string) (time.Time, error) {
	if epoch == "" {
		var err error
		if epoch, err = git(root, "log", "-1", "--format=%ct"); err != nil || epoch == "" {
			return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), nil
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q, but must be a number of seconds", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func git(root string, args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
	return strings.TrimSpace(string(out)), err
}

// layOut writes the files of the image to a folder, for the processor that this
// runs on.
func (s settings) layOut() error {
	if runtime.GOOS != "linux" {
		return errors.New("-tree makes the files of a Linux image and has to run on Linux")
	}
	p := platform{os: "linux", arch: runtime.GOARCH}
	program, licenses, err := s.compile(p)
	if err != nil {
		return err
	}
	return writeFolder(s.tree, imageTree(program, licenses, s.date))
}

// everything makes all files of a release.
func (s settings) everything() error {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	var names []string
	var images []image
	for _, p := range s.platforms {
		fmt.Fprintf(s.say, "dist: %s\n", p)
		program, licenses, err := s.compile(p)
		if err != nil {
			return err
		}
		name, err := s.download(p, program, licenses)
		if err != nil {
			return err
		}
		names = append(names, name)
		if p.os != "linux" {
			continue
		}
		img, err := makeImage(p, s.version, s.date, imageTree(program, licenses, s.date))
		if err != nil {
			return err
		}
		name = programName + "-image-" + p.arch + p.variant + ".tar"
		if err := writeFile(filepath.Join(s.out, name), func(w io.Writer) error { return writeImage(w, s.date, img) }); err != nil {
			return err
		}
		names = append(names, name)
		images = append(images, img)
	}
	if len(images) > 0 {
		name := programName + "-image-oci.tar"
		if err := writeFile(filepath.Join(s.out, name), func(w io.Writer) error { return writeIndex(w, s.date, images) }); err != nil {
			return err
		}
		names = append(names, name)
	}
	return writeSums(s.out, names)
}

// writeFile makes a file of what write writes.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
