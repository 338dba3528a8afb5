package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/internal/bundle"
	"berth/internal/oci"
)

// importFlags are what berth import is told besides its arguments.
type importFlags struct {
	images      []string
	temp        string
	maxUnpacked string
}

func newImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import SOURCE [repository[:tag]]",
		Short: "Take in images from an OCI layout or a docker save archive",
		Long: "import puts images from files into the registry: from a folder or an archive with an OCI\n" +
			"layout (skopeo copy … oci:DIR, crane pull --format=oci, oras copy --to-oci-layout), or\n" +
			"from what docker save writes. An archive may be compressed with gzip or bzip2; - reads\n" +
			"it from standard input.\n\n" +
			"Names and tags are those in the source, without a host; repository and tag take their\n" +
			"place. What the registry has already is not stored again, so an import that was\n" +
			"interrupted can be repeated. It goes to the running server, or straight into the data\n" +
			"directory if none is running.",
		Example: "  docker save app:1 db:2 | berth import -\n" +
			"  berth import app.tar team/app:1.2\n" +
			"  berth import ./layout team/app",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{errors.New("import needs a folder, an archive, or - for standard input, and may be told the repository")}
			}
			return nil
		},
	}
	var flags importFlags
	cmd.Flags().StringArrayVar(&flags.images, "image", nil, "take only the image of this `name` or digest; may be repeated")
	cmd.Flags().StringVar(&flags.temp, "temp", "", "unpack compressed archives in this `folder` instead of the system's")
	cmd.Flags().StringVar(&flags.maxUnpacked, "max-unpacked", "64GiB", "refuse compressed archives that are larger than this `size` when unpacked")
	configured := addConfigFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAdmin(cmd, configured, func(ctx context.Context, c *adminClient) error {
			return runImport(ctx, c, cmd, flags, args)
		})
	}
	return cmd
}

func runImport(ctx context.Context, c *adminClient, cmd *cobra.Command, flags importFlags, args []string) (err error) {
	var to target
	if len(args) == 2 {
		if to.repo, to.tag, err = parseImportTarget(args[1]); err != nil {
			return err
		}
	}
	most, err := config.ParseSize(flags.maxUnpacked)
	if err != nil {
		return usageError{fmt.Errorf("--max-unpacked: %w", err)}
	}
	o := bundle.Options{Temp: flags.temp, MaxUnpacked: int64(most)}
	b, err := bundle.Open(ctx, args[0], cmd.InOrStdin(), o)
	if err != nil {
		return err
	}
	defer b.Close()
	images, err := pickImages(b.Images, flags.images)
	if err != nil {
		return err
	}
	list, err := importTargets(b, images, to)
	if err != nil {
		return err
	}
	p := &importer{c: c, b: b, out: cmd.OutOrStdout(), progress: newProgress(cmd.ErrOrStderr())}
	for _, i := range images {
		for _, name := range i.Odd {
			p.progress.line(fmt.Sprintf("the name %q of %s is left out: no registry could have it", name, i.Root.Digest))
		}
	}
	if err := p.run(ctx, list); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted: what was stored stays, run the same command again to go on")
		}
		return err
	}
	return nil
}

func parseImportTarget(s string) (oci.Repo, oci.Tag, error) {
	repo, ref, err := parseTarget(s)
	if err == nil && !ref.Digest.IsZero() {
		err = usageError{fmt.Errorf("%s: name a tag, not a digest: the digest is the image's own", s)}
	}
	return repo, ref.Tag, err
}

// A target is where one image of a bundle goes.
type target struct {
	image bundle.Image
	repo  oci.Repo
	tag   oci.Tag   // asked for on the command line
	tags  []oci.Tag // none: it is found by its digest only
}

// pickImages returns those images that have one of the names, or that digest;
// all if there is none.
func pickImages(images []bundle.Image, names []string) ([]bundle.Image, error) {
	if len(names) == 0 {
		return images, nil
	}
	var list []bundle.Image
	for _, s := range names {
		n := len(list)
		for _, i := range images {
			if isCalled(i, s) {
				list = append(list, i)
			}
		}
		if len(list) == n {
			return nil, fmt.Errorf("there is no image %s in it; there is %s", s, imageNames(images))
		}
	}
	return list, nil
}

func isCalled(i bundle.Image, s string) bool {
	if i.Root.Digest.String() == s {
		return true
	}
	want, err := bundle.ParseName(s)
	for _, n := range i.Names {
		if n.Repo.IsZero() && n.Tag.String() == s || err == nil && n == want {
			return true
		}
	}
	return false
}

// imageNames lists images for a message.
func imageNames(images []bundle.Image) string {
	const most = 20
	var list []string
	for k, i := range images {
		if k == most {
			list = append(list, fmt.Sprintf("and %d more", len(images)-most))
			break
		}
		if len(i.Names) == 0 {
			list = append(list, i.Root.Digest.String())
		}
		for _, n := range i.Names {
			list = append(list, n.String())
		}
	}
	return strings.Join(list, ", ")
}

// importTargets decides where each image goes. to is what was said on the
// command line, or zero.
func importTargets(b *bundle.Bundle, images []bundle.Image, to target) ([]target, error) {
	if !to.tag.IsZero() {
		return oneTarget(b, images, to)
	}
	var list []target
	var unnamed []bundle.Image
	home := to.repo // of what the source gives no name to
	for _, i := range images {
		found := namedTargets(i, to.repo)
		if len(found) == 0 {
			unnamed = append(unnamed, i)
			continue
		}
		if home.IsZero() {
			home = found[0].repo
		}
		list = append(list, found...)
	}
	for _, t := range list {
		if t.repo != home && len(unnamed) > 0 {
			home = oci.Repo{}
			break
		}
	}
	if len(unnamed) > 0 && home.IsZero() {
		return nil, usageError{errors.New("the source doesn't say which repository it belongs to: name one, as in berth import SOURCE team/app:1")}
	}
	for _, i := range unnamed {
		t := target{image: i, repo: home}
		if len(images) == 1 {
			t.tags = []oci.Tag{latest()}
		}
		list = append(list, t)
	}
	return list, checkTags(list)
}

// latest is the tag that docker takes to be meant where none is written.
func latest() oci.Tag {
	t, err := oci.ParseTag("latest")
	if err != nil {
		panic(err)
	}
	return t
}

// namedTargets returns where the names of an image lead; repo, if it is set,
// takes the place of their repositories.
func namedTargets(i bundle.Image, repo oci.Repo) []target {
	var list []target
	for _, n := range i.Names {
		if !repo.IsZero() {
			n.Repo = repo
		}
		if n.Repo.IsZero() {
			continue
		}
		if n.Tag.IsZero() {
			n.Tag = latest()
		}
		k := 0
		for k < len(list) && list[k].repo != n.Repo {
			k++
		}
		if k == len(list) {
			list = append(list, target{image: i, repo: n.Repo})
		}
		list[k].tags = append(list[k].tags, n.Tag)
	}
	return list
}

// oneTarget gives the one image of a source the tag that was asked for. What
// refers to an image, such as a signature, goes along without a tag.
func oneTarget(b *bundle.Bundle, images []bundle.Image, to target) ([]target, error) {
	var list []target
	tagged := 0
	for _, i := range images {
		t := target{image: i, repo: to.repo}
		if m, err := b.Manifest(i.Root); err != nil || m.Subject == nil || len(i.Names) > 0 {
			t.tags = []oci.Tag{to.tag}
			tagged++
		}
		list = append(list, t)
	}
	if tagged != 1 {
		return nil, usageError{fmt.Errorf("the source holds %d images, which can't all be %s:%s: choose one with --image (%s)",
			tagged, to.repo, to.tag, imageNames(images))}
	}
	return list, nil
}

// checkTags refuses to give two images one name.
func checkTags(list []target) error {
	owner := map[string]oci.Digest{}
	for _, t := range list {
		for _, tag := range t.tags {
			name := t.repo.String() + ":" + tag.String()
			if other, ok := owner[name]; ok && other != t.image.Root.Digest {
				return usageError{fmt.Errorf("two images would become %s: choose one with --image (%s or %s)", name, other, t.image.Root.Digest)}
			}
			owner[name] = t.image.Root.Digest
		}
	}
	return nil
}
