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
	"slices"
	"syscall"

	"github.com/lbproof/lbproof/internal/history"
)

// errAborted marks a connection closed by the sender itself.
var errAborted = errors.New("cancelled by the sender")

// classify maps an error to a kind of failure.
func classify(err error) history.Err {
	var dns *net.DNSError
	switch {
	case err == nil:
		return ""
	case isAny(err, errAborted, context.Canceled, net.ErrClosed),
		isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM):
		return history.Tester
	case isAny(err, syscall.ECONNREFUSED):
		return history.Refused
	case isAny(err, syscall.ECONNRESET, syscall.EPIPE):
		return history.Reset
	case isAny(err, os.ErrDeadlineExceeded, context.DeadlineExceeded, syscall.ETIMEDOUT):
		return history.Timeout
	case errors.As(err, &dns):
		return history.DNS
	case isTLS(err):
		return history.HandshakeFailed
	case isAny(err, io.ErrUnexpectedEOF):
		return history.Truncated
	case isAny(err, io.EOF):
		return history.Closed
	}
	return history.Other
}

// isAny reports whether err is one of kinds.
func isAny(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// isTLS reports whether a handshake failed because of the peer or its certificate.
func isTLS(err error) bool {
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	for _, kind := range []any{&alert, &record, &verify, &invalid} {
		if errors.As(err, kind) {
			return true
		}
	}
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// resolve returns the IPv4 address of a host.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return all[0].Unmap(), nil
}
