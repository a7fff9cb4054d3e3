package faults

import (
	"context"
	"errors"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var certificate = Fault{
	Name: plan.FaultCertificate, Roles: httpRoles, NeedsTLS: true, NeedsMaster: true,
	Doc: "replaces the node's certificates by invalid ones; " +
		"a balancer reloads",
	Args: []Arg{{"flaw", Choice, "expired", "expired, early, name, issuer: " +
		"expired; not yet valid; for another name; signed by an unknown authority"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		put := func(ctx context.Context, flaw string) error {
			files, err := s.RenewCerts(flaw)
			if err != nil {
				return err
			}
			return s.replaceFiles(ctx, files)
		}
		if err := put(ctx, s.Args["flaw"]); err != nil {
			return nil, errors.Join(err, put(context.WithoutCancel(ctx), ""))
		}
		return func(ctx context.Context) error { return put(ctx, "") }, nil
	},
	Detect: func(s Site) agent.Poll {
		l := pollHTTP(s, agent.Expectation{
			Outcomes: []agent.Outcome{agent.UntrustedCert}, Contains: certErrors[s.Args["flaw"]],
		})
		l.CA, l.ServerName = s.CA, s.Host
		return l
	},
}

// certErrors maps flaws to the matching text of crypto/x509's error.
var certErrors = map[string]string{
	"expired": " is after ", "early": " is before ",
	"name": "certificate is valid for ", "issuer": "unknown authority",
}

// replaceFiles replaces files of the node. A balancer reloads; its main configuration is rewritten too, because a
// balancer that watches its files would not notice a new certificate otherwise.
func (s Site) replaceFiles(ctx context.Context, files []model.File) error {
	if s.Node.Spec.Role != plan.Balancer {
		return s.Node.Write(ctx, files...)
	}
	main, err := mainFile(s)
	if err != nil {
		return err
	}
	return s.writeAndReload(ctx, append(files, model.NewFile(main.path, main.file.Content))...)
}
