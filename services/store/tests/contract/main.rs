//! One contract for every store: the same cases run against the embedded store, in memory and on disk, and against a
//! server that speaks MongoDB's wire protocol. What belongs to one of them only is in `embedded`, `crash`, `mongo` and `hub`.

mod cases;
mod crash;
mod embedded;
mod hub;
mod mongo;
mod places;

/// Makes one test of each case for each place.
macro_rules! contract {
    ($($noun:ident { $($case:ident)* })*) => {
        mod in_memory {$(
            mod $noun {$(
                #[tokio::test]
                async fn $case() {
                    crate::cases::$noun::$case(&crate::places::in_memory()).await;
                }
            )*}
        )*}

        mod on_disk {$(
            mod $noun {$(
                #[tokio::test]
                async fn $case() {
                    let place = crate::places::on_disk();
                    crate::cases::$noun::$case(&place.store).await;
                }
            )*}
        )*}

        mod mongodb {$(
            mod $noun {$(
                #[tokio::test]
                async fn $case() {
                    let place = crate::places::mongodb().await;
                    crate::cases::$noun::$case(&place.store).await;
                }
            )*}
        )*}
    };
}

contract! {
    users {
        a_token_hash_leads_to_its_owner
        many_token_hashes_lead_to_their_owners_at_once
        an_unknown_token_hash_has_no_owner
        a_token_is_as_old_as_its_date_number_or_text
        only_a_false_active_deactivates
        somebody_without_a_usable_id_is_nobody
        roles_of_an_odd_type_are_none
        a_username_is_matched_exactly
        a_taken_username_is_a_conflict_and_writes_nothing
        a_taken_id_is_a_conflict
        a_pushed_token_is_found_until_it_is_pulled
        pulling_a_token_leaves_the_others
        held_tokens_are_told_from_lost_ones
        a_password_hash_comes_with_what_the_login_must_know
        the_own_document_holds_only_what_its_user_may_see
        own_documents_come_in_the_order_in_which_they_are_asked_for
        presence_fields_leave_the_time_of_change_alone
        users_are_found_by_role_in_order_of_their_names
        an_update_sets_removes_and_adds
        an_update_of_nobody_says_so
        a_path_through_a_text_is_refused
        an_id_never_changes
    }
    rooms {
        a_room_tells_what_access_rules_need
        a_room_document_holds_only_what_clients_may_see
        a_member_is_listed_on_both_sides
        whoever_has_a_status_is_no_member
        rooms_are_found_in_one_go
        a_stored_room_comes_whole_with_its_type
        a_team_that_is_no_text_is_a_team_of_nobody
        attributes_are_read_as_far_as_they_can_be
        a_member_keeps_the_time_of_the_last_decision
        a_second_subscription_of_the_same_user_is_a_conflict
        a_message_marks_the_subscriptions_of_everybody_but_its_writer
        a_removed_subscription_is_gone_from_both_sides
        a_new_room_gets_an_id_of_its_own
    }
    messages {
        history_goes_back_from_the_newest
        history_before_a_time_leaves_that_time_out
        missed_messages_come_oldest_first
        hidden_messages_are_not_shown
        a_message_of_another_room_is_not_shown
        an_edited_message_keeps_its_place
        a_deleted_message_is_gone
        every_kind_of_value_comes_back_as_it_went
    }
    presence {
        a_connection_is_listed_until_it_is_removed
        a_second_login_on_a_session_leaves_one_entry
        edits_of_one_user_happen_in_their_order
        ids_that_look_like_expressions_are_plain_text
        a_status_is_set_on_one_connection
        a_touch_never_makes_an_entry_or_a_document
        an_entry_touched_since_it_was_read_is_not_swept
        connections_are_found_by_node_and_by_age
        live_nodes_survive_the_sweep
        an_instance_is_known_until_it_is_removed
    }
    status {
        presence_fields_come_as_they_are_stored
        a_status_is_written_field_by_field_and_read_back
        a_status_that_changed_since_it_was_read_is_left_alone
        who_is_thought_connected_is_listed_in_pages
        expiring_statuses_come_in_order_of_their_time
    }
    workspace {
        a_setting_has_a_value_or_none
        a_setting_that_does_not_exist_cannot_be_set
        permissions_and_roles_are_listed
        roles_are_found_by_their_ids
        teams_know_their_kind_and_members
        without_a_monolith_there_is_no_version
        a_conference_names_its_rooms_and_who_has_joined
    }
}
