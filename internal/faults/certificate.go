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
	Doc: "the node's certificates are replaced by ones that no client should take; " +
		"a balancer is told to take over its configuration",
	Args: []Arg{{"flaw", Choice, "expired", "expired, early, name, issuer: " +
		"its time is over; its time has not come; it is for another name; nobody knows who signed it"}},
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
		l := pollHTTP(s, agent.Expectation{Outcomes: []agent.Outcome{agent.UntrustedCert}, Contains: certErrors[s.Args["flaw"]]})
		l.CA, l.ServerName = s.CA, s.Host
		return l
	},
}

// certErrors are what crypto/x509 says of the flaws.
var certErrors = map[string]string{
	"expired": " is after ", "early": " is before ",
	"name": "certificate is valid for ", "issuer": "unknown authority",
}

// replaceFiles puts files in place. A balancer takes them over with its configuration, which is written anew, since one that
// watches its files would not notice otherwise.
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
