package image

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"berth/test/realtest"
)

// An object is one of a Kubernetes file, with what the test looks at. The rest is
// for Kubernetes itself to check.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Selector    any
		ServiceName string `yaml:"serviceName"`
		Replicas    int
		Ports       []map[string]any
		Template    struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
		VolumeClaimTemplates []struct {
			Metadata struct{ Name string }
		} `yaml:"volumeClaimTemplates"`
	}
}

type pod struct {
	Grace           int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
		RunAsUser    int  `yaml:"runAsUser"`
		RunAsGroup   int  `yaml:"runAsGroup"`
		FSGroup      int  `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	Containers []struct {
		Image           string
		Env             []struct{ Name, Value string }
		Ports           []struct{ Name string }
		StartupProbe    probe `yaml:"startupProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		SecurityContext struct {
			ReadOnly     bool                `yaml:"readOnlyRootFilesystem"`
			Capabilities map[string][]string `yaml:"capabilities"`
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct{ Name string }
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// TestKubernetes holds that the parts of the file fit together, and runs its
// container with docker: the same user, rights, mounts and variables, and those
// that Kubernetes makes up for its Service.
func TestKubernetes(t *testing.T) {
	service, set := kubernetes(t)
	labels := set.Spec.Template.Metadata.Labels
	if set.Spec.ServiceName != service.Metadata.Name || set.Spec.Replicas != 1 || labels["app.kubernetes.io/name"] != "berth" ||
		!strings.Contains(fmt.Sprint(service.Spec.Selector), "berth") || service.Spec.Ports[0]["targetPort"] != "http" {
		t.Errorf("Service and StatefulSet don't fit together:\n%+v\n%+v", service, set)
	}
	p := set.Spec.Template.Spec
	c := p.Containers[0]
	if p.Grace <= 40 || c.Ports[0].Name != "http" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("grace %d, ports %v, readiness %+v", p.Grace, c.Ports, c.ReadinessProbe)
	}
	volumes := []string{set.Spec.VolumeClaimTemplates[0].Metadata.Name}
	for _, v := range p.Volumes {
		volumes = append(volumes, v.Name)
	}

	docker := realtest.Docker(t)
	addr := freeAddr(t)
	user := strconv.Itoa(p.SecurityContext.RunAsUser) + ":" + strconv.Itoa(p.SecurityContext.RunAsGroup)
	args := []string{"--user", user, "--cap-drop", c.SecurityContext.Capabilities["drop"][0], "--security-opt", "no-new-privileges", "-e", "REGISTRY_HTTP_ADDR=" + addr}
	if c.SecurityContext.ReadOnly {
		args = append(args, "--read-only")
	}
	for _, e := range c.Env {
		args = append(args, "-e", e.Name+"="+e.Value)
	}
	for _, e := range injected(strings.ToUpper(service.Metadata.Name)) {
		args = append(args, "-e", e)
	}
	for _, m := range c.VolumeMounts {
		if !slices.Contains(volumes, m.Name) {
			t.Errorf("%s is mounted at %s, and there is no such volume", m.Name, m.MountPath)
		}
		dir := folder(t, 0o770)
		if m.Name == "auth" {
			secret := writeFile(t, dir, "htpasswd", htpasswd(docker))
			if err := os.Chown(secret, 0, p.SecurityContext.FSGroup); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(secret, 0o440); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(dir, 0, p.SecurityContext.FSGroup); err != nil { // what fsGroup does
			t.Fatal(err)
		}
		args = append(args, "-v", dir+":"+m.MountPath)
	}
	running := docker.Start(append(args, docker.BerthImage())...)
	running.AwaitHealthy()
	for _, probe := range []probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if probe.HTTPGet.Port != "http" {
			t.Errorf("a probe asks at port %s", probe.HTTPGet.Port)
		}
		if got := status(t, "http://"+addr+path.Clean(probe.HTTPGet.Path)); got != 200 {
			t.Errorf("the probe of %s gets %d", probe.HTTPGet.Path, got)
		}
	}
	docker.Input("secret").Run("login", "-u", "alice", "--password-stdin", addr)
	pushPull(t, docker, addr, "app:v1")
	if strings.Contains(running.Log(), "tcp://") {
		t.Errorf("the log speaks of what Kubernetes made up:\n%s", running.Log())
	}
}

func kubernetes(t *testing.T) (service, set object) {
	t.Helper()
	documents := strings.Split(recipe(t, "kubernetes.yaml"), "\n---\n")
	if len(documents) != 2 {
		t.Fatalf("%d objects, want 2", len(documents))
	}
	for i, o := range []*object{&service, &set} {
		if err := yaml.Unmarshal([]byte(documents[i]), o); err != nil {
			t.Fatal(err)
		}
	}
	if service.Kind != "Service" || set.Kind != "StatefulSet" || set.APIVersion != "apps/v1" || len(set.Spec.Template.Spec.Containers) != 1 ||
		len(set.Spec.VolumeClaimTemplates) != 1 || len(service.Spec.Ports) != 1 {
		t.Fatalf("got %+v\n%+v", service, set)
	}
	return service, set
}

// injected are the variables that Kubernetes gives to every container beside a
// Service of this name.
func injected(name string) []string {
	const ip, port = "10.43.7.8", "5000"
	address := "tcp://" + ip + ":" + port
	return []string{
		name + "_SERVICE_HOST=" + ip, name + "_SERVICE_PORT=" + port, name + "_SERVICE_PORT_HTTP=" + port, name + "_PORT=" + address,
		name + "_PORT_5000_TCP=" + address, name + "_PORT_5000_TCP_PROTO=tcp", name + "_PORT_5000_TCP_PORT=" + port, name + "_PORT_5000_TCP_ADDR=" + ip,
	}
}

// status returns the status of a GET.
func status(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
