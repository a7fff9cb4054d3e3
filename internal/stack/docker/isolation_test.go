package docker

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/lbconfigs"
)

// A malicious program in a balancer's configuration reaches the nodes of its own run and nothing else: no address of
// the machine, no other run, no other network, not the engine.
func TestConfigReachesOwnRunOnly(t *testing.T) {
	d := engine(t)
	server, _ := backend("10.9.0.10")
	server.Address, server.Files = "10.9.0.10", nil
	server.Command = append(server.Command, "--ledger", plan.LedgerDir+"/arrivals")
	other := opened(t, d, stack.Setup{Run: "isolation-other"})
	foreign, _ := backend("foreign")
	foreign.Files = nil
	foreign.Command = append(foreign.Command, "--ledger", plan.LedgerDir+"/arrivals")
	require.NoError(t, other.Start(t.Context(), foreign, nil))
	elsewhere, err := other.Address(t.Context(), "foreign")
	require.NoError(t, err)

	host, err := net.Listen("tcp4", "0.0.0.0:0") // a service of the machine
	require.NoError(t, err)
	defer host.Close()
	go func() {
		for {
			conn, err := host.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	port := host.Addr().(*net.TCPAddr).Port
	for name, attack := range map[string]struct {
		config string
		script string // path in the container
		text   string
	}{
		"nginx": {
			config: "load_module modules/ndk_http_module.so;\nload_module modules/ngx_http_lua_module.so;\nevents {}\nhttp {\n" +
				"init_worker_by_lua_file /etc/nginx/probe.lua;\nupstream app { server 10.9.0.10:8000; }\nserver { listen 80; location / { proxy_pass http://app; } }\n}\n",
			script: "/etc/nginx/probe.lua", text: nginxProbe,
		},
		"haproxy": {
			config: "global\n lua-load /usr/local/etc/haproxy/probe.lua\ndefaults\n mode http\n timeout connect 2s\n timeout client 9s\n timeout server 9s\n" +
				"frontend web\n bind :80\n default_backend app\nbackend app\n server a 10.9.0.10:8000\n",
			script: "/usr/local/etc/haproxy/probe.lua", text: haproxyProbe,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := opened(t, d, stack.Setup{Run: "isolation-" + name, Specs: []plan.Spec{server}})
			require.NoError(t, s.Start(t.Context(), server, nil))
			targets := []string{"10.9.0.10 8000", elsewhere + " 8000", "1.1.1.1 53"}
			targets = append(targets, s.hostsTargets(t, port)...)
			spec, files := attacker(t, name, attack.config, attack.script)
			spec.GeneratedFiles = map[string]string{attack.script: attack.text, "/targets": strings.Join(targets, "\n") + "\n"}
			require.NoError(t, s.Start(t.Context(), spec, files))
			said := s.until(t, spec.Name, "probe done")
			for _, target := range targets {
				want := "probe " + target + " nothing"
				if target == targets[0] {
					want = "probe " + target + " reached"
				}
				assert.Contains(t, said, want, "%s", said)
			}
			assert.Contains(t, said, "probe socket nothing")
		})
	}
}

// The probes try to connect to each target for a second, then to the engine's socket.
const (
	nginxProbe = `
ngx.timer.at(0, function()
  for line in io.lines("/targets") do
    local host, port = line:match("(%S+) (%S+)")
    local s = ngx.socket.tcp()
    s:settimeout(1000)
    local ok, err = s:connect(host, tonumber(port))
    io.stderr:write("probe " .. line .. (ok and " reached " or " nothing ") .. tostring(err) .. "\n")
  end
  local f = ngx.socket.tcp():connect("unix:/var/run/docker.sock") or io.open("/var/run/docker.sock")
  io.stderr:write("probe socket" .. (f and " reached" or " nothing") .. "\nprobe done\n")
end)`
	haproxyProbe = `
core.register_task(function()
  local f = io.open("/targets")
  for line in f:lines() do
    local host, port = line:match("(%S+) (%S+)")
    local s = core.tcp()
    s:settimeout(1)
    local ok, err = s:connect(host, tonumber(port))
    io.stderr:write("probe " .. line .. (ok and " reached " or " nothing ") .. tostring(err) .. "\n")
    s:close()
  end
  local e = io.open("/var/run/docker.sock") or core.tcp():connect("/var/run/docker.sock")
  io.stderr:write("probe socket" .. (e and " reached" or " nothing") .. "\nprobe done\n")
end)`
)

// hostsTargets returns a port on every address of the machine, including docker0, and on the run's gateways.
func (s rig) hostsTargets(t *testing.T, port int) []string {
	t.Helper()
	var targets []string
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, one := range all {
		if prefix := netip.MustParsePrefix(one.String()); prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			targets = append(targets, fmt.Sprintf("%s %d", prefix.Addr(), port))
		}
	}
	for _, n := range s.made.networks {
		seen, err := s.made.engine.client.NetworkInspect(t.Context(), n.name, client.NetworkInspectOptions{})
		require.NoError(t, err)
		for _, config := range seen.Network.IPAM.Config {
			targets = append(targets, fmt.Sprintf("%s %d", config.Gateway, port))
			for _, one := range all {
				assert.False(t, config.Subnet.Contains(netip.MustParsePrefix(one.String()).Addr()), "the machine has %s in %s", one, config.Subnet)
			}
		}
	}
	return targets
}

// attacker returns the balancer that runs a configuration.
func attacker(t *testing.T, balancer, text, script string) (plan.Spec, []model.File) {
	t.Helper()
	dir := t.TempDir()
	name := map[string]string{"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[balancer]
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(script)), nil, 0o644))
	cfg, err := lbconfigs.Read(os.DirFS(dir), name, balancer)
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	for _, spec := range specs {
		if spec.Role == plan.Balancer {
			for at := range spec.Files {
				if at == script {
					delete(spec.Files, at)
				}
			}
			return spec, cfg.Files
		}
	}
	t.Fatal("the configuration has no balancer")
	return plan.Spec{}, nil
}

// until waits until a node has printed a text, and returns its output.
func (s rig) until(t *testing.T, name, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		var said strings.Builder
		require.NoError(t, s.Logs(ctx, name, &said))
		if strings.Contains(said.String(), text) {
			return said.String()
		}
		require.True(t, sleep.For(ctx, 50*time.Millisecond), "%s has not printed %q: %s", name, text, said.String())
	}
}

var update = flag.Bool("update", false, "update the table in docs/safety.md")

// The table in docs/safety.md matches the containers of a run, as the engine reports them.
func TestPrivilegesOfRoles(t *testing.T) {
	s := opened(t, engine(t), stack.Setup{Run: "rights", ClientCount: 10, Agents: true})
	for _, role := range []plan.Role{plan.Backend, plan.Balancer, plan.Peer, plan.Monitor, plan.Dependency} {
		spec, files := backend(string(role))
		spec.Role = role
		if role == plan.Backend {
			spec.Files, spec.Memory = nil, 256<<20
			spec.Command = append(spec.Command, "--ledger", plan.LedgerDir+"/arrivals")
		}
		if role == plan.Balancer {
			spec.SharedDirs = []string{"/run/shared"}
		}
		require.NoError(t, s.Start(t.Context(), spec, files))
	}
	for _, clients := range []netip.Prefix{{}, s.made.clientNetwork} {
		s.made.clientNetwork = clients
		streams, err := s.StartAttached(t.Context(), plan.Spec{Name: "worker" + clients.String(), Role: plan.Worker, Command: []string{"/lbproof", "worker"}})
		require.NoError(t, err)
		defer streams.Close()
	}
	balancer := s.member(t, "balancer")
	balancer.Spec.WorkerTitle = "nothing"
	assert.ErrorContains(t, balancer.KillWorker(t.Context()), "no process has the title")
	require.NoError(t, balancer.Write(t.Context(), model.NewFile("/conf", []byte("changed"))))
	require.NoError(t, s.RouteClients(t.Context(), "balancer", "worker"+s.made.clientNetwork.String()))
	_, err := balancer.Node.Run(t.Context(), stack.Command{Argv: []string{"wait-ports", "--ports", "8000"}, RunLbproof: true})
	require.NoError(t, err)

	const from, to = "<!-- roles -->\n", "<!-- end of roles -->"
	const doc = "../../../docs/safety.md"
	text, err := os.ReadFile(doc)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), from)
	require.True(t, ok)
	was, after, ok := strings.Cut(rest, to)
	require.True(t, ok)
	is := s.privilegesTable(t)
	if *update {
		require.NoError(t, os.WriteFile(doc, []byte(before+from+is+to+after), 0o644))
		return
	}
	assert.Equal(t, was, is, "update it: go test ./internal/stack/docker -run TestPrivilegesOfRoles -update")
}

// privilegesTable formats the containers of a run as the engine reports them, one row per kind.
func (s rig) privilegesTable(t *testing.T) string {
	t.Helper()
	all, err := s.made.engine.client.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelRun+"="+s.made.config.Run)})
	require.NoError(t, err)
	rows := map[string]bool{}
	for _, one := range all.Items {
		seen, err := s.made.engine.client.ContainerInspect(t.Context(), one.ID, client.ContainerInspectOptions{})
		require.NoError(t, err)
		c := seen.Container
		h := c.HostConfig
		assert.False(t, h.Privileged)
		assert.Empty(t, h.PortBindings)
		assert.Equal(t, []string{"ALL"}, h.CapDrop, one.Names)
		assert.Equal(t, []string{"no-new-privileges:true"}, h.SecurityOpt, one.Names)
		assert.Equal(t, h.Memory, h.MemorySwap)
		role := c.Config.Labels[labelRole]
		if role == string(stack.Sidecar) {
			role += ": " + c.Args[0]
		}
		var mounts []string
		for _, m := range c.Mounts {
			at := m.Destination
			if m.Type == "bind" {
				at += ", the engine's socket"
				assert.Equal(t, string(stack.Reaper), role, "only the reaper mounts something of the machine")
			}
			mounts = append(mounts, at)
		}
		user, root := cmp.Or(c.Config.User, "the image's"), "writable"
		if h.ReadonlyRootfs {
			root = "read-only"
		}
		capabilities := strings.ReplaceAll(strings.Join(slices.Sorted(slices.Values(h.CapAdd)), ", "), "CAP_", "")
		processes := ""
		if h.PidMode != "" {
			processes = ", the node's processes"
		}
		rows[fmt.Sprintf("| %s | %s | %s | %s | %s%s | %s | %d |\n", role, cmp.Or(capabilities, "none"), user, root,
			cmp.Or(strings.Join(slices.Sorted(slices.Values(mounts)), ", "), "none"), processes, units.BytesSize(float64(h.Memory)), *h.PidsLimit)] = true
	}
	return "| role | capabilities | user | root file system | mounts | memory | processes |\n|---|---|---|---|---|---|---|\n" +
		strings.Join(slices.Sorted(maps.Keys(rows)), "")
}

// hostAddressIn detects the machine's address in a network, as engines create it that ignore optionNoHostAddress.
func TestHostAddressIn(t *testing.T) {
	s := open(t)
	name := "lbproof-" + s.made.config.Run + "-open"
	made, err := s.made.engine.client.NetworkCreate(t.Context(), name, client.NetworkCreateOptions{Driver: "bridge", Internal: true, Labels: map[string]string{labelRun: s.made.config.Run}})
	require.NoError(t, err)
	at, has := s.made.engine.hostAddressIn(made.ID)
	assert.True(t, has)
	assert.True(t, at.Is4())
	for _, n := range s.made.networks {
		seen, err := s.made.engine.client.NetworkInspect(t.Context(), n.name, client.NetworkInspectOptions{})
		require.NoError(t, err)
		_, has := s.made.engine.hostAddressIn(seen.Network.ID)
		assert.False(t, has)
	}
}
