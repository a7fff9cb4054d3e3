package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	imagetypes "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// buildFromDebian builds an image from Debian packages and their dependencies. It uses the machine's package sources
// and keys, but not its package state, so it needs neither root nor cleanup; downloads stay in the user's cache. With
// fresh, an image that exists is built again if the packages are newer.
func (e *Engine) buildFromDebian(
	ctx context.Context, image plan.Image, fresh bool,
) (found stack.Image, built bool, err error) {
	cache, err := openAptCache(ctx)
	if err != nil {
		return stack.Image{}, false, err
	}
	defer cache.close()
	if found, ok, err := e.findLocal(ctx, image); err != nil || ok && !fresh {
		return found, false, err // another run has built it in the meantime
	}
	var debs []string
	err = e.step("downloading "+sourcesOf(image), func() error {
		debs, err = cache.download(ctx, image.Packages)
		return err
	})
	if err != nil {
		return stack.Image{}, false, err
	}
	packages := packagesDigest(debs)
	before, err := e.listBuilt(ctx, image)
	if err != nil {
		return stack.Image{}, false, err
	}
	same := func(i imagetypes.Summary) bool { return i.Labels[labelPackages] == packages }
	if i := slices.IndexFunc(before, same); i >= 0 {
		e.removeImages(ctx, slices.Delete(slices.Clone(before), i, i+1))
		return stack.Image{Ref: before[i].RepoTags[0], Source: before[i].Labels[labelSource]}, false, nil
	}
	err = e.step(fmt.Sprintf("building an image from %d packages", len(debs)), func() error {
		found, err = e.assembleImage(ctx, image, debs)
		return err
	})
	if err != nil {
		return stack.Image{}, false, err
	}
	e.removeImages(ctx, before)
	return found, true, nil
}

// assembleImage imports an image with the packages' files.
func (e *Engine) assembleImage(ctx context.Context, image plan.Image, debs []string) (stack.Image, error) {
	name := image.Packages[0]
	version := packageVersion(name, debs)
	source := fmt.Sprintf("built from Debian's %s %s and %d dependencies", name, version, len(debs)-1)
	ref := fmt.Sprintf("lbproof/%s:%s-debian-%s", name, tagFor(version), recipeDigest(image))
	labels := map[string]string{labelRecipe: recipeDigest(image), labelSource: source, labelPackages: packagesDigest(debs)}
	err := e.importImage(ctx, ref, imageConfig{labels: labels}, func(l layer) error {
		if err := addBaseFiles(l, image); err != nil { // first: the packages' own files must not replace them
			return err
		}
		for _, deb := range debs {
			if err := unpack(ctx, l, deb); err != nil {
				return err
			}
		}
		return nil
	})
	return stack.Image{Ref: ref, Source: source}, err
}

// removeImages removes images that have been replaced. The engine keeps those that a run uses until the next time.
func (e *Engine) removeImages(ctx context.Context, images []imagetypes.Summary) {
	for _, i := range images {
		_, _ = e.client.ImageRemove(ctx, i.ID, client.ImageRemoveOptions{PruneChildren: true})
	}
}

// packagesDigest identifies a set of packages with their versions.
func packagesDigest(debs []string) string {
	var names []string
	for _, deb := range debs {
		names = append(names, filepath.Base(deb))
	}
	slices.Sort(names)
	return model.Digest([]byte(strings.Join(names, "\n")))
}

// aptCache is a directory in which apt-get works as if nothing were installed.
type aptCache struct {
	dir  string
	lock *os.File
}

// openAptCache creates and locks the directory; it waits for another run that uses it.
func openAptCache(ctx context.Context) (*aptCache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find a directory for packages: %w", err)
	}
	c := &aptCache{dir: filepath.Join(base, "lbproof", "debian")}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(c.dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("create a directory for packages: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.dir, "status"), nil, 0o644); err != nil {
		return nil, fmt.Errorf("create a directory for packages: %w", err)
	}
	if c.lock, err = lockFile(ctx, filepath.Join(c.dir, "lbproof.lock")); err != nil {
		return nil, fmt.Errorf("lock the directory for packages: %w", err)
	}
	return c, nil
}

func (c *aptCache) close() { c.lock.Close() }

// download returns the files of packages and their dependencies. They stay until the next download.
func (c *aptCache) download(ctx context.Context, packages []string) ([]string, error) {
	archives := filepath.Join(c.dir, "cache", "archives", "*.deb")
	old, _ := filepath.Glob(archives) // the pattern is valid
	for _, deb := range old {
		if err := os.Remove(deb); err != nil {
			return nil, fmt.Errorf("remove old packages: %w", err)
		}
	}
	if err := c.run(ctx, "update"); err != nil {
		return nil, err
	}
	install := []string{"install", "-y", "--no-install-recommends", "--download-only", "--"}
	if err := c.run(ctx, append(install, packages...)...); err != nil {
		return nil, err
	}
	debs, _ := filepath.Glob(archives)
	if len(debs) == 0 {
		return nil, errors.New("apt-get downloaded no package")
	}
	return debs, nil
}

// run runs apt-get with the machine's package sources and the cache's own state.
func (c *aptCache) run(ctx context.Context, args ...string) error {
	options := []string{
		"-qq", "-o", "Dir::State=" + filepath.Join(c.dir, "state"),
		"-o", "Dir::State::status=" + filepath.Join(c.dir, "status"),
		"-o", "Dir::Cache=" + filepath.Join(c.dir, "cache"), "-o", "APT::Sandbox::User=root",
	}
	output, err := newCommand(ctx, childEnv(), "apt-get", append(options, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", args[0], exitCause(ctx, err), outputTail(output))
	}
	return nil
}

// packageVersion returns a package's version, from its file name package_version_architecture.deb.
func packageVersion(name string, debs []string) string {
	for _, deb := range debs {
		parts := strings.Split(filepath.Base(deb), "_")
		if len(parts) == 3 && parts[0] == name {
			return strings.ReplaceAll(parts[1], "%3a", ":")
		}
	}
	return "unknown"
}

// tagFor replaces the characters of a version that an image tag must not have.
func tagFor(version string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("+:~", r) {
			return '-'
		}
		return r
	}, version)
}

// unpack copies a package's files into a layer.
func unpack(ctx context.Context, l layer, deb string) error {
	cmd := newCommand(ctx, childEnv(), "dpkg-deb", "--fsys-tarfile", deb)
	files, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	copied := copyTar(l, tar.NewReader(files))
	_, _ = io.Copy(io.Discard, files) // so that dpkg-deb exits
	if err := errors.Join(copied, cmd.Wait()); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	return nil
}

func copyTar(l layer, r *tar.Reader) error {
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.add(header, r); err != nil {
			return err
		}
	}
}

// addBaseFiles adds what the packages' installation scripts would create: users, directories and links.
func addBaseFiles(l layer, image plan.Image) error {
	passwd, group := "root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\n"
	for i, user := range image.Users {
		passwd += fmt.Sprintf("%s:x:%d:%d::/:/bin/false\n", user, 101+i, 101+i)
		group += fmt.Sprintf("%s:x:%d:\n", user, 101+i)
	}
	problems := []error{l.file("etc/passwd", 0o644, []byte(passwd)), l.file("etc/group", 0o644, []byte(group))}
	for _, dir := range image.Dirs {
		mode := int64(0o755)
		if dir == "/tmp" {
			mode = 0o1777
		}
		problems = append(problems, l.dir(dir, mode))
	}
	for _, link := range image.Links {
		name, target, _ := strings.Cut(link, " -> ")
		problems = append(problems, l.link(name, target))
	}
	return errors.Join(problems...)
}
