# A second Docker engine that may be killed. Words: `up` (starts it and waits) or `down` (removes all that it made, and ends it), the
# folder of its sockets, the folder of its data. It has a network of its own, named as the folder: beside the first it would take that
# one's bridge and rules of the firewall away.
folder=$2 data=$3 network=${2##*/}
export DOCKER_HOST="unix://$folder/sock"
answers() { docker version > /dev/null 2>&1; }
up() {
    ! answers || return 0
    [ -e "/run/netns/$network" ] || { ip netns add "$network" && ip -n "$network" link set lo up; } || exit 1
    # Of one that was killed.
    rm -f -- "$folder/pid" "$folder/sock"
    echo '{}' > "$folder/none.json"
    nsenter "--net=/run/netns/$network" setsid dockerd --config-file "$folder/none.json" --data-root "$data" \
        --exec-root "$folder/exec" -p "$folder/pid" -H "$DOCKER_HOST" --bridge none --iptables=false --ip6tables=false \
        --ip-masq=false > "$folder/log" 2>&1 < /dev/null 9>&- &
    tries=300
    until answers; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { tail -n 3 "$folder/log" >&2 && exit 1; }
        sleep 0.1
    done
}
case $1 in
up) up ;;
down)
    if (up); then
        docker ps -aq | xargs -r docker rm -fv > /dev/null
        docker network ls -q --filter type=custom | xargs -r docker network rm > /dev/null
        pid=$(cat "$folder/pid")
        kill "$pid"
        while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
    fi
    # It has mounted its folder on itself, once for each start.
    while umount "$data" 2> /dev/null; do :; done
    ip netns del "$network"
    rm -rf -- "$folder" "$data"
    ;;
esac
