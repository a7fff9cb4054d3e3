package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/lbproof/lbproof/internal/history"
)

// errCut is a connection that the sender itself ended.
var errCut = errors.New("cut by the sender")

// classify finds the kind of a failure.
func classify(err error) history.Err {
	is := func(kinds ...error) bool {
		for _, k := range kinds {
			if errors.Is(err, k) {
				return true
			}
		}
		return false
	}
	var dns *net.DNSError
	switch {
	case err == nil:
		return ""
	case is(errCut, context.Canceled, net.ErrClosed, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL,
		syscall.ENOBUFS, syscall.ENOMEM):
		return history.Tester
	case is(syscall.ECONNREFUSED):
		return history.Refused
	case is(syscall.ECONNRESET, syscall.EPIPE):
		return history.Reset
	case is(os.ErrDeadlineExceeded, context.DeadlineExceeded, syscall.ETIMEDOUT):
		return history.Timeout
	case errors.As(err, &dns):
		return history.DNS
	case isTLS(err):
		return history.Handshake
	case is(io.ErrUnexpectedEOF):
		return history.Truncated
	case is(io.EOF):
		return history.Closed
	}
	return history.Other
}

// isTLS says whether the other side or its certificate was at fault in a handshake.
func isTLS(err error) bool {
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &invalid) ||
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// resolve looks up the IPv4 address of a host.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return all[0].Unmap(), nil
}
