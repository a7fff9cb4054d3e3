package docker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	imagetypes "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// Labels on images that lbproof builds.
const (
	labelSource   = "lbproof.source"
	labelRecipe   = "lbproof.recipe"
	labelPackages = "lbproof.packages" // packagesDigest of the packages that an image was built from
)

// Image returns an image from this machine, else pulls it, else builds it. The zero image holds lbproof itself.
func (e *Engine) Image(ctx context.Context, image plan.Image) (stack.Image, error) {
	if image.Ref == "" {
		return e.nodeImage(ctx)
	}
	if found, ok, err := e.findLocal(ctx, image); err != nil || ok {
		return found, err
	}
	pulled := e.pull(ctx, image.Ref)
	if pulled == nil {
		return stack.Image{Ref: image.Ref, Source: "pulled"}, nil
	}
	e.Progress(fmt.Sprintf("cannot pull %s; building an image from %s", image.Ref, sourcesOf(image)))
	found, _, err := e.build(ctx, image, false)
	if err != nil {
		return stack.Image{}, fmt.Errorf("image %s is not on this machine; pulling it failed: %v; building it failed: %w",
			image.Ref, pulled, err)
	}
	return found, nil
}

// build builds an image from its Go module or its Debian packages. With fresh, an image that exists is built again if
// the packages are newer. built reports whether it was built.
func (e *Engine) build(ctx context.Context, image plan.Image, fresh bool) (found stack.Image, built bool, err error) {
	if err := checkCanBuild(image); err != nil {
		return stack.Image{}, false, err
	}
	if image.Module != nil {
		return e.buildFromModule(ctx, image)
	}
	return e.buildFromDebian(ctx, image, fresh)
}

// findLocal looks for an image on this machine, then for one that was built instead of it.
func (e *Engine) findLocal(ctx context.Context, image plan.Image) (stack.Image, bool, error) {
	_, err := e.client.ImageInspect(ctx, image.Ref)
	if err == nil {
		return stack.Image{Ref: image.Ref, Source: "local"}, true, nil
	}
	if !errdefs.IsNotFound(err) {
		return stack.Image{}, false, fmt.Errorf("find image %s: %w", image.Ref, err)
	}
	built, err := e.listBuilt(ctx, image)
	if err != nil || len(built) == 0 {
		return stack.Image{}, false, err
	}
	return stack.Image{Ref: built[0].RepoTags[0], Source: built[0].Labels[labelSource]}, true, nil
}

// listBuilt lists the images that were built instead of an image, the newest first.
func (e *Engine) listBuilt(ctx context.Context, image plan.Image) ([]imagetypes.Summary, error) {
	built, err := e.client.ImageList(ctx, client.ImageListOptions{
		Filters: make(client.Filters).Add("label", labelRecipe+"="+recipeDigest(image)),
	})
	if err != nil {
		return nil, fmt.Errorf("find image %s: %w", image.Ref, err)
	}
	named := slices.DeleteFunc(built.Items, func(i imagetypes.Summary) bool {
		return len(i.RepoTags) == 0 || i.RepoTags[0] == "<none>:<none>"
	})
	slices.SortStableFunc(named, func(a, b imagetypes.Summary) int { return cmp.Compare(b.Created, a.Created) })
	return named, nil
}

// Update pulls the newest version of an image, else builds it again if Debian has newer packages. news says what it
// did, or why it did nothing.
func (e *Engine) Update(ctx context.Context, image plan.Image) (found stack.Image, news string, err error) {
	if image.Ref == "" {
		found, err = e.nodeImage(ctx)
		return found, "ready", err
	}
	pulled := e.pull(ctx, image.Ref)
	if pulled == nil {
		return stack.Image{Ref: image.Ref, Source: "pulled"}, "pulled", nil
	}
	if _, err := e.client.ImageInspect(ctx, image.Ref); err == nil {
		return stack.Image{Ref: image.Ref, Source: "local"}, "kept, because it cannot be pulled", nil
	}
	e.Progress(fmt.Sprintf("cannot pull %s; checking %s", image.Ref, sourcesOf(image)))
	found, built, err := e.build(ctx, image, true)
	switch {
	case err != nil:
		return found, "", fmt.Errorf("image %s: pulling it failed: %v; building it failed: %w", image.Ref, pulled, err)
	case built:
		return found, "built", nil
	}
	return found, "up to date", nil
}

// recipeDigest identifies how an image is built.
func recipeDigest(image plan.Image) string {
	text, _ := json.Marshal(image) // plain strings never fail
	return model.Digest(text)[:12]
}

// pull pulls an image within two minutes.
func (e *Engine) pull(ctx context.Context, ref string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return e.step("pulling "+ref, func() error {
		progress, err := e.client.ImagePull(ctx, ref, client.ImagePullOptions{})
		if err != nil {
			return err
		}
		defer progress.Close()
		return progress.Wait(ctx)
	})
}

// nodeImage returns the image that holds lbproof, named by the binary's digest. It is built once and cached.
func (e *Engine) nodeImage(ctx context.Context) (stack.Image, error) {
	e.nodeImageMu.Lock()
	defer e.nodeImageMu.Unlock()
	if e.cachedNodeImage.Ref != "" {
		return e.cachedNodeImage, nil
	}
	found, err := e.buildNodeImage(ctx)
	if err != nil {
		return stack.Image{}, fmt.Errorf("build the image of lbproof: %w", err)
	}
	e.cachedNodeImage = found
	return found, nil
}

// forgetNodeImage clears the cache of nodeImage.
func (e *Engine) forgetNodeImage() {
	e.nodeImageMu.Lock()
	defer e.nodeImageMu.Unlock()
	e.cachedNodeImage = stack.Image{}
}

// removeOlderNodeImages removes the images of other builds of lbproof. The engine keeps those that a container uses.
func (e *Engine) removeOlderNodeImages(ctx context.Context, ref string) {
	found, err := e.client.ImageList(ctx,
		client.ImageListOptions{Filters: make(client.Filters).Add("reference", nodeImageName+":*")})
	if err != nil {
		return // they only take space
	}
	for _, i := range found.Items {
		for _, tag := range i.RepoTags {
			if tag != ref {
				_, _ = e.client.ImageRemove(ctx, tag, client.ImageRemoveOptions{})
			}
		}
	}
}

// nodeImageName is the repository of the images that hold lbproof itself.
const nodeImageName = "lbproof/node"

func (e *Engine) buildNodeImage(ctx context.Context) (stack.Image, error) {
	found, err := e.nodeImageRef()
	if err != nil {
		return stack.Image{}, err
	}
	if _, err := e.client.ImageInspect(ctx, found.Ref); err == nil {
		return found, nil
	}
	loader, err := loaderOf(e.Binary)
	if err != nil {
		return stack.Image{}, err
	}
	config := imageConfig{labels: map[string]string{labelSource: found.Source}}
	var libraries map[string]string
	if loader != "" {
		config.env = dynamicEnv
		if libraries, err = librariesOf(ctx, loader, e.Binary); err != nil {
			return stack.Image{}, err
		}
	}
	defer e.removeOlderNodeImages(ctx, found.Ref)
	return found, e.importImage(ctx, found.Ref, config, func(l layer) error {
		err := errors.Join(l.dir("tmp", 0o1777), l.dir(plan.LedgerDir, 0o1777), l.hostFile("lbproof", e.Binary))
		if loader == "" {
			return err
		}
		return errors.Join(err, addLibraries(l, loader, libraries))
	})
}

// nodeImageRef returns the name of this lbproof's image.
func (e *Engine) nodeImageRef() (stack.Image, error) {
	binary, err := os.Open(e.Binary)
	if err != nil {
		return stack.Image{}, err
	}
	defer binary.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, binary); err != nil {
		return stack.Image{}, err
	}
	return stack.Image{Ref: fmt.Sprintf("%s:%.12x", nodeImageName, digest.Sum(nil)), Source: "this lbproof"}, nil
}

// imageConfig is the configuration of an image besides its files.
type imageConfig struct{ labels, env map[string]string }

// changes returns the configuration as Dockerfile instructions.
func (c imageConfig) changes() []string {
	var all []string
	for name, value := range c.labels {
		all = append(all, fmt.Sprintf("LABEL %s=%q", name, value))
	}
	for name, value := range c.env {
		all = append(all, fmt.Sprintf("ENV %s=%q", name, value))
	}
	return all
}

// importImage creates an image of the files that fill writes.
func (e *Engine) importImage(ctx context.Context, ref string, config imageConfig, fill func(layer) error) error {
	r, w := io.Pipe()
	filled := make(chan error, 1)
	go func() {
		archive := tar.NewWriter(w)
		err := fill(layer{archive, map[string]bool{}})
		if err == nil {
			err = archive.Close()
		}
		w.CloseWithError(err)
		filled <- err
	}()
	imported, err := e.client.ImageImport(ctx, client.ImageImportSource{Source: r, SourceName: "-"}, ref,
		client.ImageImportOptions{Changes: config.changes()})
	if err == nil {
		_, err = io.Copy(io.Discard, imported)
		imported.Close()
	}
	r.Close()
	if failed := <-filled; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return failed
	}
	if err != nil {
		return err
	}
	if _, err := e.client.ImageInspect(ctx, ref); err != nil {
		return fmt.Errorf("the engine did not import the image: %w", err)
	}
	return nil
}

// layer writes an image's files. The engine rejects two entries with the same path, so the second is left out.
type layer struct {
	w       *tar.Writer
	written map[string]bool
}

// add writes an entry; content may be nil.
func (l layer) add(h *tar.Header, content io.Reader) error {
	h.Name = path.Clean(strings.TrimPrefix(h.Name, "/"))
	if l.written[h.Name] {
		return nil
	}
	l.written[h.Name] = true
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	if err := l.w.WriteHeader(h); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	_, err := io.Copy(l.w, content)
	return err
}

func (l layer) dir(name string, mode int64) error {
	return l.add(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}, nil)
}

func (l layer) file(name string, mode int64, content []byte) error {
	return l.add(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))},
		bytes.NewReader(content))
}

func (l layer) link(name, target string) error {
	return l.add(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, nil)
}
