#!/bin/bash
# A Slurm of one node and one pretended GPU on this machine: sudo tests/slurm/one_node.sh up|down [FOLDER]
# For Debian 12 and later, as root, on a machine without a Slurm of its own; FOLDER holds its state and logs.
set -euo pipefail
folder=${2:-/var/tmp/one-node-slurm}
conf=/etc/slurm/slurm.conf
node=$(hostname -s)

say() { echo "one_node.sh: $*" >&2; exit 1; }

# A site's own configuration is never touched: ours is a link into FOLDER.
[ "$(id -u)" = 0 ] || say "Slurm's daemons need root; run it with sudo."
[ ! -e $conf ] || [ "$(readlink $conf)" = "$folder/slurm.conf" ] || say "$conf is another Slurm's; use a machine without one."

down() {
  for daemon in slurmd slurmctld munged; do
    [ ! -s "$folder/$daemon.pid" ] || kill "$(cat "$folder/$daemon.pid")" 2>/dev/null || true
  done
  rm -f $conf /etc/slurm/gres.conf
}

up() {
  if ! command -v slurmctld slurmd munged >/dev/null; then
    apt-get update -qq && apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
  fi
  mkdir -p "$folder"/{state,spool} /etc/slurm
  # `slurmd -C` describes the machine; a tenth of its memory stays with the system.
  memory=$(slurmd -C | sed -n 's/.*RealMemory=\([0-9]*\).*/\1/p')
  cat > "$folder/slurm.conf" <<END
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
AuthInfo=socket=$folder/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$((memory * 9 / 10)) Gres=gpu:1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
END
  # The plugin drops SLURM_* inside jobs, SLURM_CONF with them, so the configuration lies where Slurm looks for it.
  ln -sfn "$folder/slurm.conf" $conf
  echo "Name=gpu File=/dev/zero" > /etc/slurm/gres.conf
  [ -s "$folder/munge.key" ] || head -c 128 /dev/urandom > "$folder/munge.key"
  chmod 400 "$folder/munge.key"
  chmod 755 "$folder"
  munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
  slurmctld
  slurmd
  for _ in $(seq 30); do
    ! sinfo -h -o %T 2>/dev/null | grep -q idle || { sinfo; exit 0; }
    sleep 1
  done
  say "Slurm did not come up; its logs are $folder/*.log."
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
