package docker

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/lbproof/lbproof/internal/plan"
)

// Availability is how this machine gets an image, and where from.
type Availability struct {
	State  AvailabilityState
	Origin string // of the image; why there is none if it is Unavailable
}

// AvailabilityState is the first way that works, in the order of Engine.Image.
type AvailabilityState string

// The states.
const (
	Present     AvailabilityState = "present"
	Pullable    AvailabilityState = "can be pulled"
	Buildable   AvailabilityState = "can be built"
	Unavailable AvailabilityState = "unavailable"
)

// registryTimeout bounds the check whether a registry has an image.
const registryTimeout = time.Second

// Availability reports how Image would get an image. It pulls and builds nothing, and takes about a second at most.
func (e *Engine) Availability(ctx context.Context, image plan.Image) Availability {
	if image.Ref == "" {
		return e.nodeImageAvailability(ctx)
	}
	found, here, err := e.findLocal(ctx, image)
	switch {
	case err != nil:
		return Availability{Unavailable, err.Error()}
	case here:
		return Availability{Present, found.Ref + ", " + found.Source}
	}
	limited, cancel := context.WithTimeoutCause(ctx, registryTimeout, fmt.Errorf("no answer within %s", registryTimeout))
	defer cancel()
	_, err = e.client.DistributionInspect(limited, image.Ref, client.DistributionInspectOptions{})
	if err == nil {
		return Availability{Pullable, image.Ref + " from its registry"}
	}
	notPullable := fmt.Sprintf("%s cannot be pulled: %v", image.Ref, exitCause(limited, err))
	if err := checkCanBuild(image); err != nil {
		return Availability{Unavailable, notPullable + "; nor built: " + err.Error()}
	}
	return Availability{Buildable, "from " + sourcesOf(image) + "; " + notPullable}
}

// nodeImageAvailability reports whether the image of this lbproof is here or can be made.
func (e *Engine) nodeImageAvailability(ctx context.Context) Availability {
	found, err := e.nodeImageRef()
	if err != nil {
		return Availability{Unavailable, err.Error()}
	}
	if _, err := e.client.ImageInspect(ctx, found.Ref); err == nil {
		return Availability{Present, found.Ref + ", " + found.Source}
	}
	loader, err := loaderOf(e.Binary)
	if err == nil && loader != "" {
		_, err = librariesOf(ctx, loader, e.Binary)
	}
	if err != nil {
		return Availability{Unavailable, err.Error()}
	}
	return Availability{Buildable, "from this lbproof, in seconds"}
}

// sourcesOf names what an image is built from.
func sourcesOf(image plan.Image) string {
	if m := image.Module; m != nil {
		return fmt.Sprintf("the Go module %s %s, in minutes", m.Path, m.Version)
	}
	return "Debian's " + strings.Join(image.Packages, ", ")
}

// checkCanBuild returns an error if an image cannot be built on this machine.
func checkCanBuild(image plan.Image) error {
	if err := image.Validate(); err != nil {
		return err
	}
	tools := []string{"apt-get", "dpkg-deb"}
	switch {
	case image.Module != nil:
		tools = []string{"go"}
	case len(image.Packages) == 0:
		return fmt.Errorf("no Debian package is known for %s: pull it, or load it into Docker", image.Ref)
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not on this machine: install it, or load %s into Docker", tool, image.Ref)
		}
	}
	return nil
}
